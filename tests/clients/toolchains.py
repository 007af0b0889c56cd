"""Checks whether this machine can build and run programs in other languages."""

import shutil
import sys
from pathlib import Path

import pytest

from tests.e2e.stack import command

SOURCES = {
    "go": "Go 1.25 or newer, from go.dev",
    "npm": "Node 20 or newer with npm, from nodejs.org",
    "mvn": "a JDK of 17 or newer and Maven (apt install maven)",
    "cargo": "Rust 1.88 or newer, from rustup.rs",
    "chromium": "Chromium (apt install chromium)",
}
# Time for a build that downloads and compiles all that an example needs.
BUILD_SECONDS = 480.0

NPM_BUILD = (
    # The lock file is not changed, which some versions and settings of npm would do.
    ("npm", "install", "--no-save", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"),
    ("npm", "run", "--silent", "build"),
)
PYTHON_BUILD = (
    # The environment is made again, so that it has no packages of an older lock file.
    (sys.executable, "-m", "venv", "--clear", ".venv"),
    (".venv/bin/python", "-m", "pip", "install", "--quiet", "--require-hashes", "-r", "requirements.txt"),
    (".venv/bin/python", "generate.py"),
    # The type check, which a compiler does in other languages: whether the program matches the generated code.
    (
        *(sys.executable, "-m", "mypy", "--config-file=", "--strict", "--follow-imports=silent"),
        *("--python-executable", ".venv/bin/python", "generate.py", "converse.py"),
    ),
)


def require(*programs: str) -> None:
    """Skip the test if one of the programs is missing; the reason says which, and where to get it."""
    if missing := [program for program in programs if shutil.which(program) is None]:
        pytest.skip(f"missing: {'; '.join(f'{program} ({SOURCES[program]})' for program in missing)}")


async def built(folder: Path, *steps: tuple[str, ...]) -> None:
    """Run the build steps in a folder; each must succeed."""
    for step in steps:
        ended = await command(*step, cwd=folder, seconds=BUILD_SECONDS)
        assert ended.status == 0, f"{' '.join(step)}\n{ended.output}\n{ended.errors}"
