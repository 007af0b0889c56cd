"""Runs the `soma` command as a user does, on a stack without services, which starts in one second."""

import asyncio
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.declared import SERVICES

# With what their services would need, for those that join.
WITHOUT_SERVICES = ["--without", ",".join(SERVICES), "--parts", "postgres,redis"]


@dataclass(frozen=True)
class Result:
    """The exit status and the output of a command."""

    status: int
    output: str
    errors: str


async def soma(*arguments: str | Path, cwd: Path | None = None, seconds: float = 60.0) -> Result:
    """Run `soma` to its end."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",
        "-m",
        "cli.main",
        *(str(argument) for argument in arguments),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=cwd,
    )
    async with asyncio.timeout(seconds):
        output, errors = await process.communicate()
    assert process.returncode is not None
    return Result(process.returncode, output.decode(), errors.decode())


async def up(data_dir: Path, port: int, *more: str) -> Result:
    """`soma up --dev --detach` without services."""
    return await soma("up", "--dev", "--detach", "--data-dir", data_dir, "--port", str(port), *WITHOUT_SERVICES, *more)


async def status(data_dir: Path) -> dict[str, Any]:
    """`soma status --json`."""
    report: dict[str, Any] = json.loads((await soma("status", "--json", "--data-dir", data_dir)).output)
    return report
