"""`soma down` while answers are streamed: those that end in time are complete, the others get a typed error."""

import asyncio

from services.mesh.testing.waiting import until
from services.model.testing.dialects import Behaviour
from services.model.testing.upstreams import FakeUpstream
from tests.e2e.stack import Stack
from tests.e2e.streams import logs
from tests.e2e.streams.conftest import GRACE_SECONDS, echoes
from tests.e2e.streams.held import holding
from tests.e2e.streams.reader import Ask
from tests.e2e.streams.surfaces import ECHOES, STREAMED
from tests.e2e.test_restart import alive, processes

# In addition to the grace time of the processes, which are stopped in layers.
STOP_SECONDS = 20.0


def drains(stack: Stack) -> int:
    """How many serve processes have logged that they stop."""
    return sum(path.read_text().count('"draining"') for path in (stack.data_dir / "logs").glob("serve-*.log"))


async def test_answers_that_end_within_the_grace_time_are_complete(pair: Stack, upstream: FakeUpstream) -> None:
    enough = asyncio.Event()
    upstream.behaviour = Behaviour(until=enough, pause=0.05)
    before = drains(pair)
    async with holding(pair, STREAMED) as held:
        stopping = asyncio.create_task(pair.down())

        async def draining() -> bool:
            return drains(pair) > before

        await until(draining)
        enough.set()
        endings = {client.name: await client.ended() for client in held}
        await stopping
    assert [name for name, ending in endings.items() if not ending.finished] == []


async def test_longer_answers_end_with_a_reason_and_no_process_stays(pair: Stack, upstream: FakeUpstream) -> None:
    upstream.behaviour = Behaviour(until=asyncio.Event(), pause=0.05)
    readers = {**STREAMED, "WebSocket": logs.socket, "tail": logs.tail}
    before = processes(pair)
    loop = asyncio.get_running_loop()
    async with holding(pair, readers, {"tail": Ask(conversation="nobody's task")}) as held:
        began = loop.time()
        await pair.down()
        seconds = loop.time() - began
        endings = {client.name: await client.ended() for client in held}
    assert alive(before) == []
    assert seconds < 2 * GRACE_SECONDS + STOP_SECONDS
    closed = endings.pop("WebSocket")
    assert closed.status == 1012
    assert {name: ending.reason for name, ending in endings.items()} == dict.fromkeys(endings, "DRAINING")
    async with asyncio.timeout(STOP_SECONDS):
        await upstream.until(open=0)


async def test_a_process_that_joined_ends_its_streams_with_a_reason(pair: Stack) -> None:
    endless = asyncio.Event()
    async with pair.serving("testing") as process:
        await echoes(pair)
        async with holding(pair, ECHOES, {"bidi": Ask(until=endless)}) as held:
            process.terminate()
            ending = await held[0].ended()
            async with asyncio.timeout(STOP_SECONDS):
                assert await process.wait() == 0
    assert (ending.status, ending.reason) == ("UNAVAILABLE", "DRAINING")
