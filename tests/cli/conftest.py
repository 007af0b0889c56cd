"""Fixtures: real parts on a data directory for each test. A test fails if it leaves a process behind."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import psutil
import pytest

from cli.data_dir import DataDir
from cli.parts.part import Part
from cli.supervisor import Supervisor

Supervised = Callable[..., AbstractAsyncContextManager[Supervisor]]


@pytest.fixture
def data_dir(tmp_path: Path) -> DataDir:
    """A new data directory, prepared."""
    directory = DataDir.at(tmp_path / "data")
    directory.prepare()
    return directory


@pytest.fixture
def supervised(data_dir: DataDir) -> Supervised:
    """Run parts inside a `with` block; they are always stopped at its end."""

    @asynccontextmanager
    async def run(*parts: Part, on_change: Callable[[], None] = lambda: None) -> AsyncIterator[Supervisor]:
        supervisor = Supervisor(parts, data_dir["logs"], on_change)
        try:
            yield supervisor
        finally:
            await supervisor.stop()

    return run


@pytest.fixture(autouse=True)
def _no_process_is_left(tmp_path: Path) -> Iterator[None]:
    yield
    left = processes_of(tmp_path)
    for process in left:
        process.kill()
    assert not left


def processes_of(directory: Path) -> list[psutil.Process]:
    """All running processes with `directory` in their command line."""
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        words = process.info["cmdline"] or []
        if process.info["status"] != psutil.STATUS_ZOMBIE and any(str(directory) in word for word in words):
            found.append(process)
    return found
