"""Very many connections: served up to the limit, refused beyond it, and released when they are closed."""

import asyncio
import resource
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from services.mesh.testing.waiting import until
from tests.e2e.counts import Counts
from tests.e2e.hostile.footprint import Footprint, serves
from tests.e2e.hostile.limits import CONNECTIONS
from tests.e2e.hostile.wire import read_answer
from tests.e2e.stack import Stack

MANY = 5000
# How many are opened at the same time, and how many send requests at the same time: no more than the gateway has
# connections to its backends.
TOGETHER, ASKING = 50, 6
KIB_EACH = 48
ASK = b"GET /health HTTP/1.1\r\nhost: mesh\r\n\r\n"

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest.fixture(autouse=True)
def descriptors() -> Iterator[None]:
    """Enough file descriptors for the connections of this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    assert hard > 2 * MANY, f"the test needs {2 * MANY} descriptors: raise the hard limit (ulimit -Hn)"
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@asynccontextmanager
async def opened(stack: Stack, count: int) -> AsyncIterator[list[Connection]]:
    """Open this number of connections."""
    connections: list[Connection] = []
    try:
        for first in range(0, count, TOGETHER):
            wanted = range(first, min(first + TOGETHER, count))
            connections += await asyncio.gather(*(asyncio.open_connection("127.0.0.1", stack.port) for _ in wanted))
        yield connections
    finally:
        for _, writer in connections:
            writer.transport.abort()


async def asked(connections: list[Connection]) -> list[int]:
    """Request `/health` on each; returns the statuses, 0 where the connection was closed instead."""
    statuses = []
    for first in range(0, len(connections), ASKING):
        some = connections[first : first + ASKING]
        for _, writer in some:
            writer.write(ASK)
        statuses += [(await read_answer(reader)).status for reader, _ in some]
    return statuses


# Long enough for a slow machine that other tests keep busy.
@pytest.mark.timeout(480)
async def test_five_thousand_connections_are_served_and_then_released(stack: Stack) -> None:
    await serves(stack)
    before = await Footprint.of(stack)
    held: list[Footprint] = []
    for _ in range(2):
        async with opened(stack, MANY) as connections:
            assert set(await asked(connections)) == {200}
            await serves(stack)
            held.append(await Footprint.of(stack))
        await until(lambda: fewer_than(stack, MANY // 10))
    assert held[0].counts.sockets["envoy"] - before.counts.sockets["envoy"] >= MANY
    for each in held:
        # They cost the gateway some memory, and the backends nothing.
        assert (each.mib["envoy"] - before.mib["envoy"]) * 1024 < MANY * KIB_EACH
        assert each.counts.sockets["serve"] - before.counts.sockets["serve"] < 100
    await serves(stack)
    await before.restored(stack)


async def fewer_than(stack: Stack, sockets: int) -> bool:
    """Whether the gateway has fewer sockets than this number."""
    return (await Counts.of(stack)).sockets["envoy"] < sockets


async def test_connections_over_the_limit_are_closed_at_once(checked: Stack) -> None:
    stack = checked
    async with AsyncExitStack() as closing:
        # Other clients already have some of the connections.
        inside = await closing.enter_async_context(opened(stack, CONNECTIONS - 100))
        assert set(await asked(inside)) == {200}
        more = await closing.enter_async_context(opened(stack, 200))
        statuses = await asked(more)
        assert {200, 0} == set(statuses)
        assert statuses.count(200) <= 100
        # Earlier connections stay open.
        assert set(await asked(inside[::10])) == {200}
    await until(lambda: fewer_than(stack, CONNECTIONS // 2))


async def test_every_process_has_the_largest_limit_of_descriptors(limited: Stack) -> None:
    for part in ("control", "envoy", "serve"):
        soft, hard = limited.process(part).rlimit(resource.RLIMIT_NOFILE)
        assert soft == hard > 1024
