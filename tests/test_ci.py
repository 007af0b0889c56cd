"""What `.ci/run` says and how it ends, with a `make` in place of the real one."""

import os
from pathlib import Path

import psutil
import pytest

from services.mesh.testing.waiting import until
from tests.e2e.stack import Ended, command

RUN = Path(__file__).parents[1] / ".ci" / "run"
MAKE = """#!/bin/sh
echo "made $*" >> "$0.said"
case " $FAILS " in *" $1 "*) echo "$1 failed"; exit 2;; esac
case $1 in
test-clients) [ -z "$HANGS" ] || tail -f "$0"; echo "7 passed, 1 skipped in 9.87s (0:00:09)";;
test) echo "Required test coverage of 80% reached. Total coverage: 91.23%"; echo "123 passed in 4.56s";;
esac
"""


async def run(folder: Path, fails: str = "", hangs: str = "") -> Ended:
    """The script, while `make` fails for some targets, or hangs for the clients."""
    make = folder / "make"
    make.write_text(MAKE)
    make.chmod(0o755)
    path = f"PATH={folder}:{os.defpath}"
    return await command("env", path, "CI=true", f"FAILS={fails}", f"HANGS={hangs}", RUN, cwd=folder)


async def test_the_last_lines_are_the_runners_own(tmp_path: Path) -> None:
    ended = await run(tmp_path)
    assert ended.status == 0, ended.output + ended.errors
    assert ended.output.splitlines()[-3:] == [
        "7 passed, 1 skipped in 9.87s (0:00:09)",
        "Required test coverage of 80% reached. Total coverage: 91.23%",
        "123 passed in 4.56s",
    ]
    said = (tmp_path / "make.said").read_text()
    assert all(f"made {target}" in said for target in ("-j4 setup", "test-clients", "check", "test ARGS=--cov", "demo"))


@pytest.mark.parametrize("target", ["-j4", "check", "test", "test-clients", "demo"])
async def test_it_fails_with_any_of_its_steps_and_shows_what_that_said(tmp_path: Path, target: str) -> None:
    ended = await run(tmp_path, fails=target)
    assert ended.status != 0
    assert f"{target} failed" in ended.output


async def test_a_failure_does_not_wait_for_the_clients_and_leaves_nothing_running(tmp_path: Path) -> None:
    ended = await run(tmp_path, fails="check", hangs="yes")
    assert ended.status != 0

    async def gone() -> bool:
        lines = [each.info["cmdline"] or [] for each in psutil.process_iter(["cmdline"])]
        return not any(str(tmp_path) in word for line in lines for word in line)

    await until(gone)
