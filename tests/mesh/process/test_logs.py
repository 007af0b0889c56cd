"""Log lines: each is one JSON object, whatever is logged."""

import json
import logging
import os
from collections.abc import Callable, Iterator
from typing import TypeAlias

import pytest
import structlog

from services.mesh.process import logs
from services.mesh.process.logs import LOST, Sink

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
def test_a_full_disk_loses_log_lines_and_nothing_else(
    configured: None, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    before = LOST._value.get()
    with open("/dev/full", "w", encoding="utf-8") as full:
        monkeypatch.setattr("sys.stderr", full)
        logs.configure("info", form)
        structlog.get_logger("test").error("unexpected error", exc_info=LookupError("gone"))
        logging.getLogger("library").error("it failed")
    assert LOST._value.get() == before + 2


def test_a_line_of_which_only_a_part_was_written_does_not_spoil_the_next_one() -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    sink = Sink(writer)
    try:
        sink.write(b"x" * 100_000 + b"\n")
        assert set(os.read(reader, 200_000)) == {ord("x")}
        sink.write(b"whole\n")
        assert os.read(reader, 100) == b"\nwhole\n"
        sink.write("another é\n")
        assert os.read(reader, 100) == "another é\n".encode()
    finally:
        os.close(reader)
        os.close(writer)
