"""Programs that a measurement needs: they are started, waited for, and stopped with it."""

import asyncio
import os
import shutil
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from types import MappingProxyType

import psutil

from cli.parts.part import Launch
from cli.parts.port import free_port as free_port
from cli.parts.process import Process, run

POLL_SECONDS = 0.02


class Missing(Exception):
    """A program is missing on this machine; the message says how to get it."""


def program(name: str, remedy: str) -> str:
    """The path of a program.

    Raises:
        Missing: the program is not on PATH.
    """
    path = shutil.which(name)
    if path is None:
        raise Missing(f"{name} is missing: {remedy}")
    return path


async def output(
    argv: list[str], seconds: float, cwd: Path | None = None, env: Mapping[str, str] = MappingProxyType({})
) -> str:
    """Run a program until it ends, and return its output.

    Raises:
        TimeoutError: it did not end in time, and was killed.
        RuntimeError: it failed.
    """
    async with asyncio.timeout(seconds):
        status, text = await run(Launch(argv, cwd=cwd, env=env))
    if status != 0:
        raise RuntimeError(f"{argv[0]} failed with {status}: {text[-2000:]}")
    return text


@asynccontextmanager
async def running(
    launch: Launch, log: Path, ready: int | Callable[[], Awaitable[bool]], patience: float
) -> AsyncIterator[int]:
    """Run a program during a block, which begins when `ready` is true or the port `ready` of 127.0.0.1 answers.

    It yields the pid.

    Raises:
        RuntimeError: the program ended, or is not ready within `patience` seconds.
    """
    condition = partial(_answers, ready) if isinstance(ready, int) else ready
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as file:
        process = await Process.start(launch, file.fileno())
    ended = asyncio.create_task(process.wait())
    try:
        await until(condition, patience, ended, log)
        yield process.pid
    finally:
        await process.stop(signal.SIGTERM, 5.0)
        await ended


async def until(
    condition: Callable[[], Awaitable[bool]], patience: float, ended: "asyncio.Task[int]", log: Path
) -> None:
    """Wait for a condition while a program runs.

    Raises:
        RuntimeError: the program ended, or the time is over.
    """
    deadline = time.monotonic() + patience
    while not await condition():
        if ended.done() or time.monotonic() > deadline:
            why = "ended" if ended.done() else f"not ready after {patience} s"
            raise RuntimeError(f"{log.stem}: {why}; the end of its log:\n{log.read_text(errors='replace')[-2000:]}")
        await asyncio.sleep(POLL_SECONDS)


async def _answers(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


def process_tree(pid: int) -> list[psutil.Process]:
    """A process and all its descendants."""
    root = psutil.Process(pid)
    return [root, *root.children(recursive=True)]


def load_average() -> float:
    """The load average of the last minute."""
    return os.getloadavg()[0]


def processor_seconds_of(pid: int) -> float:
    """The processor time that a process has used, in seconds."""
    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.NoSuchProcess:
        # For example, a worker of Postgres that has ended since it was listed.
        return 0.0
    return times.user + times.system
