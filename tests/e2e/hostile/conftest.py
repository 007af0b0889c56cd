"""A stack that is to be misused: little time and room for each client, so that a test sees the end of both."""

import resource
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import grpc
import httpx
import pytest

from services.model.testing.dialects import Behaviour
from services.model.testing.upstreams import FakeUpstream
from tests.e2e.hostile.footprint import Footprint, serves
from tests.e2e.hostile.limits import ANSWER_BYTES, GRACE_SECONDS, SETTINGS
from tests.e2e.scripted import configure
from tests.e2e.stack import Stack


@pytest.fixture(scope="session")
async def besieged(
    tmp_path_factory: pytest.TempPathFactory, model_server: FakeUpstream, claude_server: FakeUpstream
) -> AsyncIterator[Stack]:
    """A stack with small limits, started as shells start programs: with few descriptors."""
    directory = tmp_path_factory.mktemp("besieged")
    # What nobody reads is held back by the way it takes, not by the length of an answer, nor by a model that is slow.
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
        # Pools are filled, and what is loaded at first use is.
        await serves(stack)
        await serves(stack)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        yield stack


@pytest.fixture
async def unscathed(besieged: Stack, upstream: FakeUpstream) -> AsyncIterator[Stack]:
    """The same stack, which afterwards serves as before and holds nothing more than before."""
    await serves(besieged)
    before = await Footprint.of(besieged)
    yield besieged
    upstream.behaviour = Behaviour()
    await serves(besieged)
    await before.restored(besieged)


@pytest.fixture
async def http(besieged: Stack) -> AsyncIterator[httpx.AsyncClient]:
    """An HTTP client of the besieged stack, with its key."""
    async with besieged.http() as client:
        yield client


@pytest.fixture
async def channel(besieged: Stack) -> AsyncIterator[grpc.aio.Channel]:
    """A native channel to it."""
    async with besieged.channel() as opened:
        yield opened
