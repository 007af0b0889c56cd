"""A rolling restart while answers are streamed: each ends in the old process, in which it began."""

import asyncio

import psutil
import pytest

from services.mesh.testing.waiting import until
from services.model.testing.dialects import Behaviour
from services.model.testing.upstreams import FakeUpstream
from tests.e2e.scripted import MODEL
from tests.e2e.stack import Stack
from tests.e2e.streams import logs
from tests.e2e.streams.conftest import LEAVE_SECONDS, MODEL_PROCESS, WORKERS
from tests.e2e.streams.held import HeldStream, holding
from tests.e2e.streams.reader import Ask
from tests.e2e.streams.surfaces import STREAMED, WHOLE

EACH = 2


async def replaced(stack: Stack, part: str) -> tuple[psutil.Process, "asyncio.Task[None]"]:
    """Begin to replace a part. When the new process has taken over, returns the old one and the task of the restart."""
    old = stack.process(part)

    async def restart() -> None:
        ended = await stack.soma("restart", part, seconds=2 * LEAVE_SECONDS)
        assert (ended.status, ended.errors) == (0, "")

    restarting = asyncio.create_task(restart())

    async def taken_over() -> bool:
        if restarting.done():
            restarting.result()
        return stack.part(part).pid != old.pid

    await until(taken_over, seconds=40)
    return old, restarting


@pytest.mark.parametrize("part", [WORKERS[0], MODEL_PROCESS])
async def test_answers_end_complete_in_the_process_that_is_replaced(
    pair: Stack, upstream: FakeUpstream, part: str
) -> None:
    enough = asyncio.Event()
    upstream.behaviour = Behaviour(until=enough, pause=0.1)
    async with holding(pair, STREAMED, each=EACH) as held:
        whole = [HeldStream(name, read(pair, Ask())) for name, read in WHOLE.items()]
        await upstream.until(open=len(held) + len(whole))
        old, restarting = await replaced(pair, part)
        for client in held:
            await client.more()
        assert old.is_running()
        assert not restarting.done()
        enough.set()
        endings = [(client.name, await client.ended()) for client in (*held, *whole)]
        await restarting
    assert [name for name, ending in endings if not ending.finished] == []
    assert not psutil.pid_exists(old.pid)


async def test_background_answers_end_complete_as_well(pair: Stack, upstream: FakeUpstream) -> None:
    """The model is in another process, so no call in progress of the old process belongs to these streams."""
    enough = asyncio.Event()
    upstream.behaviour = Behaviour(until=enough, pause=0.1)
    ask = {"model": MODEL, "input": "hello", "background": True}
    async with pair.http() as http:
        made = [(await http.post("/v1/responses", json=ask)).json()["id"] for _ in range(4 * EACH)]
        await upstream.until(open=len(made))
        old, restarting = await replaced(pair, WORKERS[0])

        async def takes_no_more() -> bool:
            # Its admin port answers probes until the end.
            return len([each for each in old.net_connections() if each.status == psutil.CONN_LISTEN]) <= 1

        await until(takes_no_more, seconds=30)
        enough.set()
        await restarting

        async def states() -> set[str]:
            return {(await http.get(f"/v1/responses/{each}")).json()["status"] for each in made}

        async def ended() -> bool:
            return "in_progress" not in await states()

        await until(ended, seconds=30)
        assert await states() == {"completed"}


async def test_log_streams_end_at_once_and_continue_in_another_process(pair: Stack) -> None:
    """An endless stream delays a restart for as long as the process may take to stop."""
    readers = {"WebSocket": logs.socket, "tail": logs.tail}
    asks = {"tail": Ask(conversation="nobody's task")}
    async with holding(pair, readers, asks, each=4) as held:
        for part in WORKERS:
            _, restarting = await replaced(pair, part)
            async with asyncio.timeout(LEAVE_SECONDS / 2):
                await restarting
        endings = [await client.ended() for client in held]
        async with holding(pair, readers, asks):
            pass
    assert {(ending.status, ending.reason) for ending in endings} == {(1012, ""), (200, "DRAINING")}
