"""Fixtures: one stack for the clients, with memory in its own process, and a web site whose pages may call it."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import grpc
import pytest

from services.mesh.testing.waiting import until
from tests.clients.calls import echoed
from tests.clients.site import site
from tests.e2e.stack import Stack


@pytest.fixture(scope="session")
async def origin() -> AsyncIterator[str]:
    """The origin of the web example's page, which is the only one that may call the stack."""
    async with site() as url:
        yield url


@pytest.fixture(scope="session")
async def stack(tmp_path_factory: pytest.TempPathFactory, origin: str) -> AsyncIterator[Stack]:
    """A running stack with the local model. It is shared, so a test must leave every part unchanged."""
    directory = tmp_path_factory.mktemp("stack")
    (directory / "soma.toml").write_text(f'cors_origins = ["{origin}"]\n')
    shared = Stack(directory, "--apart", "memory")
    async with AsyncExitStack() as closing:
        closing.push_async_callback(shared.down)
        await shared.up()
        yield shared


@pytest.fixture(scope="module")
async def echo(stack: Stack) -> AsyncIterator[Stack]:
    """The stack with a process that serves EchoService."""
    async with stack.serving("testing"), stack.channel() as channel:

        async def served() -> bool:
            return await echoed(channel, stack) == "a"

        await until(served)
        yield stack


@pytest.fixture
async def channel(stack: Stack) -> AsyncIterator[grpc.aio.Channel]:
    """A native channel to the public port."""
    async with stack.channel() as opened:
        yield opened
