"""Log lines: one JSON object each, whatever is in it."""

import json
import logging
import os
from collections.abc import Callable, Iterator
from typing import TypeAlias

import pytest
import structlog

from services.mesh import logs

Line: TypeAlias = Callable[..., dict[str, object]]


@pytest.fixture
def configured() -> Iterator[None]:
    before, root = structlog.get_config(), logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.configure(**before)
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def line(
    configured: None, capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Line]:
    with open(2, "w", encoding="utf-8", closefd=False) as stderr:
        monkeypatch.setattr("sys.stderr", stderr)
        logs.configure("info", "json")

        def written(**fields: object) -> dict[str, object]:
            structlog.get_logger("test").info("said", **fields)
            lines = capfdbinary.readouterr().err.splitlines()
            assert len(lines) == 1
            found: dict[str, object] = json.loads(lines[0])
            return found

        yield written


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("a\nb \u00e9", "a\nb \u00e9"),
        (1.5, 1.5),
        (2**80, 2**80),
        ("half \ud83d", "half \ud83d"),
        ({1: "one"}, {"1": "one"}),
        (ValueError("no"), "ValueError('no')"),
    ],
)
def test_a_line_is_one_object_with_every_field(line: Line, value: object, told: object) -> None:
    found = line(value=value)
    assert found["event"] == "said"
    assert found["level"] == "info"
    assert found["value"] == told


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_line_that_cannot_be_written_ends_nobodys_work(
    configured: None, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    # Where every write fails for want of room, and the buffer can be kept no longer.
    full = os.open("/dev/full", os.O_WRONLY)
    with open(full, "w", encoding="utf-8", closefd=False) as stderr:
        monkeypatch.setattr("sys.stderr", stderr)
        logs.configure("info", form)
        for _ in range(3):
            structlog.get_logger("test").error("said", what="x" * 10_000)
        with pytest.raises(OSError, match="No space left"):
            os.write(full, b"x")
        # What is left in the buffer is written when the file is closed.
        os.dup2(os.open(os.devnull, os.O_WRONLY), full)
    os.close(full)
