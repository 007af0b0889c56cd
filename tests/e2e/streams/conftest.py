"""A stack of several processes, which tests replace, kill and stop while answers are streamed."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from cli.data_dir import DataDir
from cli.state import running
from services.mesh.testing.waiting import until
from services.model.testing.upstreams import FakeUpstream
from tests.clients.calls import echoed
from tests.e2e.scripted import configure
from tests.e2e.stack import Stack

WORKERS = ("serve-1", "serve-2")
MODEL_PROCESS = "serve-model"
# How long calls in progress may take when a process stops, and when another process has replaced it.
GRACE_SECONDS, LEAVE_SECONDS = 1.0, 60.0


@pytest.fixture(scope="session")
async def processes(
    tmp_path_factory: pytest.TempPathFactory, model_server: FakeUpstream, claude_server: FakeUpstream
) -> AsyncIterator[Stack]:
    """A stack of two workers, and of the model service in its own process."""
    directory = tmp_path_factory.mktemp("processes")
    configure(directory, model_server, claude_server)
    settings = directory / "soma.toml"
    patience = f"grace_seconds = {GRACE_SECONDS}\nleave_seconds = {LEAVE_SECONDS}\n"
    settings.write_text(patience + settings.read_text())
    shared = Stack(directory, "--workers", str(len(WORKERS)), "--apart", "model")
    async with AsyncExitStack() as closing:
        closing.push_async_callback(shared.down)
        yield shared


@pytest.fixture
async def pair(processes: Stack) -> Stack:
    """The same stack; all parts are ready, also after a test that broke one."""
    if running(DataDir.at(processes.data_dir)) is None:
        await processes.up()

    async def ready() -> bool:
        async with processes.http() as http:
            return (await http.get("/ready")).status_code == 200

    await until(ready, seconds=30)
    return processes


async def echoes(stack: Stack) -> None:
    """Wait until EchoService can be called."""
    async with stack.channel() as channel:

        async def answers() -> bool:
            return await echoed(channel, stack) == "a"

        await until(answers, seconds=30)
