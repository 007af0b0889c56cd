"""The places where programs are found."""

from pathlib import Path

import pytest

from cli.parts.program import ENVOY, POSTGRES, REDIS, Source, find, locate, version
from services.mesh.call.errors import FailedPrecondition


@pytest.mark.parametrize(("source", "major"), [(POSTGRES, "18."), (REDIS, "9."), (ENVOY, "1.")])
async def test_every_wheel_has_its_program(source: Source, major: str) -> None:
    assert (await version(find(source))).startswith(major)


def test_a_program_on_path_stands_in_for_a_missing_wheel() -> None:
    found = locate(Source("env", "no_such_package_here", "bin/env", (), ""))
    assert found is not None
    assert found.name == "env"


def test_a_missing_program_is_reported_with_how_to_get_it() -> None:
    with pytest.raises(FailedPrecondition, match="dig for it") as refused:
        find(Source("no-such-program", "no_such_package_here", "bin/it", ("nor-this",), "dig for it"))
    assert refused.value.reason == "PROGRAM_MISSING"


async def test_a_program_that_does_not_run_here_is_told_apart_from_a_missing_one(tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\necho no such machine; exit 3\n")
    broken.chmod(0o755)
    with pytest.raises(FailedPrecondition, match="no such machine") as refused:
        await version(broken)
    assert refused.value.reason == "PROGRAM_BROKEN"
