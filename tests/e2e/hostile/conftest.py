"""A stack for tests of misuse, with small limits of time and size."""

import resource
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import grpc
import httpx
import pytest

from services.model.testing.dialects import Behaviour
from services.model.testing.upstreams import FakeUpstream
from tests.e2e.hostile.footprint import Footprint, serves
from tests.e2e.hostile.limits import ANSWER_BYTES, GRACE_SECONDS, SETTINGS, SHORT_LIVED
from tests.e2e.scripted import configure
from tests.e2e.stack import Stack


@pytest.fixture(scope="session")
async def limited(
    tmp_path_factory: pytest.TempPathFactory, model_server: FakeUpstream, claude_server: FakeUpstream
) -> AsyncIterator[Stack]:
    """A stack with small limits. It starts with few file descriptors, as from a shell."""
    directory = tmp_path_factory.mktemp("limited")
    # The limits of an answer's length and of a slow model are large: unread answers must be held back by flow control.
    configure(directory, model_server, claude_server, most_bytes=ANSWER_BYTES, patience=GRACE_SECONDS)
    with (directory / "soma.toml").open("a") as file:
        file.write(SETTINGS)
    stack = Stack(directory)
    async with AsyncExitStack() as closing:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard))
        closing.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        closing.push_async_callback(stack.down)
        await stack.up()
        # Two turns fill the pools, and load what is loaded at first use.
        await serves(stack)
        await serves(stack)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        yield stack


@pytest.fixture(scope="session")
async def short_lived(
    tmp_path_factory: pytest.TempPathFactory, model_server: FakeUpstream, claude_server: FakeUpstream
) -> AsyncIterator[Stack]:
    """A stack whose WebSockets for responses may be open for two seconds."""
    directory = tmp_path_factory.mktemp("short-lived")
    configure(directory, model_server, claude_server, patience=GRACE_SECONDS)
    with (directory / "soma.toml").open("a") as file:
        file.write(SHORT_LIVED)
    stack = Stack(directory)
    async with AsyncExitStack() as closing:
        closing.push_async_callback(stack.down)
        await stack.up()
        yield stack


@pytest.fixture
async def checked(limited: Stack, upstream: FakeUpstream) -> AsyncIterator[Stack]:
    """The same stack; after the test it must work, and hold no more than before."""
    await serves(limited)
    before = await Footprint.of(limited)
    yield limited
    upstream.behaviour = Behaviour()
    await serves(limited)
    await before.restored(limited)


@pytest.fixture
async def http(limited: Stack) -> AsyncIterator[httpx.AsyncClient]:
    """An HTTP client of the stack, with its key."""
    async with limited.http() as client:
        yield client


@pytest.fixture
async def channel(limited: Stack) -> AsyncIterator[grpc.aio.Channel]:
    """A native channel to the stack."""
    async with limited.channel() as opened:
        yield opened
