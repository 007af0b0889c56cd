"""A shared stack for tests that leave it unchanged, and the scripted model servers of every stack."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import grpc
import httpx
import pytest
from openai import AsyncOpenAI

from services.model.testing.dialects import Behaviour
from services.model.testing.upstreams import FakeUpstream
from tests.e2e.scripted import claude, configure
from tests.e2e.stack import Stack


@pytest.fixture(scope="session")
async def model_server() -> AsyncIterator[FakeUpstream]:
    """The OpenAI-compatible server behind every stack."""
    async with FakeUpstream() as server:
        yield server


@pytest.fixture(scope="session")
async def claude_server() -> AsyncIterator[FakeUpstream]:
    """The Anthropic server behind every stack."""
    async with claude() as server:
        yield server


@pytest.fixture(autouse=True)
def upstream(model_server: FakeUpstream) -> FakeUpstream:
    """The OpenAI-compatible server, reset for each test, which decides how the server behaves."""
    model_server.behaviour = Behaviour()
    model_server.requests.clear()
    model_server.left = 0
    return model_server


@pytest.fixture(autouse=True)
def anthropic(claude_server: FakeUpstream) -> FakeUpstream:
    """The same for the Anthropic server."""
    claude_server.behaviour = Behaviour()
    claude_server.requests.clear()
    claude_server.left = 0
    return claude_server


@pytest.fixture(scope="session")
async def stack(
    tmp_path_factory: pytest.TempPathFactory, model_server: FakeUpstream, claude_server: FakeUpstream
) -> AsyncIterator[Stack]:
    """A running stack. It is shared, so a test must leave every part unchanged."""
    directory = tmp_path_factory.mktemp("stack")
    configure(directory, model_server, claude_server)
    shared = Stack(directory)
    async with AsyncExitStack() as closing:
        closing.push_async_callback(shared.down)
        await shared.up()
        yield shared


@pytest.fixture(scope="session")
async def split(
    tmp_path_factory: pytest.TempPathFactory, model_server: FakeUpstream, claude_server: FakeUpstream
) -> AsyncIterator[Stack]:
    """A stack with memory in its own process, for tests that break a part and wait until it is back.

    Its streams send a heartbeat after 0.3 s of silence.
    """
    directory = tmp_path_factory.mktemp("split")
    configure(directory, model_server, claude_server, heartbeat=0.3)
    shared = Stack(directory, "--apart", "memory")
    async with AsyncExitStack() as closing:
        closing.push_async_callback(shared.down)
        await shared.up()
        yield shared


@pytest.fixture(scope="session")
async def partial(
    tmp_path_factory: pytest.TempPathFactory, model_server: FakeUpstream, claude_server: FakeUpstream
) -> AsyncIterator[Stack]:
    """A stack without the memory service, which waits for memory at most one second."""
    directory = tmp_path_factory.mktemp("partial")
    configure(directory, model_server, claude_server, memory_patience=1.0)
    shared = Stack(directory, "--without", "memory")
    async with AsyncExitStack() as closing:
        closing.push_async_callback(shared.down)
        await shared.up()
        yield shared


@pytest.fixture
async def http(stack: Stack) -> AsyncIterator[httpx.AsyncClient]:
    """An HTTP client with the key."""
    async with stack.http() as client:
        yield client


@pytest.fixture
async def openai(stack: Stack) -> AsyncIterator[AsyncOpenAI]:
    """OpenAI's client with the key."""
    async with stack.openai() as client:
        yield client


@pytest.fixture
async def channel(stack: Stack) -> AsyncIterator[grpc.aio.Channel]:
    """A native channel."""
    async with stack.channel() as opened:
        yield opened
