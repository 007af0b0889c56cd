"""Logs followed: nothing missed, nothing twice, signs of life, and where to go on."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import redis.asyncio as aioredis
from soma.orchestrator.v1 import log_service_pb2 as pb

from services.mesh.call.call import run_as
from services.mesh.call.principal import Principal
from services.mesh.testing.local import SOMEBODY
from services.mesh.watching import streams
from tests.orchestrator.logs.conftest import Desk
from tests.servers import RedisServer


class Tail:
    """A tail being read."""

    def __init__(self, desk: Desk, **fields: str) -> None:
        with run_as(SOMEBODY, timeout=30):
            self.call = desk.stub.TailLogs(pb.TailLogsRequest(**fields))
        self._events: AsyncIterator[pb.TailLogsResponse] = aiter(self.call)
        self.heartbeats = 0

    async def started(self) -> str:
        """Where it begins."""
        event = await anext(self._events)
        assert (event.WhichOneof("payload"), event.sequence) == ("started", 0)
        return event.started.after

    async def entries(self, count: int) -> list[pb.LogEntry]:
        """The next entries; heartbeats are counted."""
        found: list[pb.LogEntry] = []
        async with asyncio.timeout(15):
            while len(found) < count:
                event = await anext(self._events)
                if event.WhichOneof("payload") == "heartbeat":
                    self.heartbeats += 1
                else:
                    found.append(event.entry)
        return found


async def test_a_task_is_followed_from_its_first_entry(desk: Desk) -> None:
    await desk.write("one", task="t-1")
    await desk.write("other", task="t-2")
    tail = Tail(desk, task_id="t-1")
    assert await tail.started() == "0-0"
    await desk.write("two", task="t-1")
    await desk.write("other", task="t-2")
    await desk.write("three", task="t-1")
    assert [entry.message for entry in await tail.entries(3)] == ["one", "two", "three"]
    tail.call.cancel()


async def test_without_a_task_a_tail_begins_now(desk: Desk) -> None:
    await desk.write("before")
    tail = Tail(desk, level="warning")
    await tail.started()
    await desk.write("not severe")
    await desk.write("severe", level="error")
    assert [entry.message for entry in await tail.entries(1)] == ["severe"]
    tail.call.cancel()


async def test_a_tail_continues_after_the_last_entry_seen(desk: Desk) -> None:
    tail = Tail(desk)
    begin = await tail.started()
    await desk.write("one", "two")
    seen = await tail.entries(1)
    tail.call.cancel()
    await desk.write("three")
    resumed = Tail(desk, after=seen[0].id)
    assert await resumed.started() == seen[0].id
    assert [entry.message for entry in await resumed.entries(2)] == ["two", "three"]
    resumed.call.cancel()
    anew = Tail(desk, after=begin)
    await anew.started()
    assert len(await anew.entries(3)) == 3
    anew.call.cancel()


async def test_a_silent_tail_gets_heartbeats_even_while_others_write(desk: Desk) -> None:
    tail = Tail(desk, level="error")
    await tail.started()

    async def chatter() -> None:
        for number in range(60):
            await desk.write(str(number))
            await asyncio.sleep(0.01)
        await desk.write("severe", level="error")

    chattering = asyncio.create_task(chatter())
    await tail.entries(1)
    await chattering
    assert tail.heartbeats >= 2
    tail.call.cancel()


async def test_many_tails_of_several_tenants_each_get_everything_in_order(desk: Desk) -> None:
    tenants = [f"tenant-{number % 3}" for number in range(12)]
    begun = asyncio.Semaphore(0)

    async def follow(tenant: str) -> list[str]:
        with run_as(Principal(tenant, "alex", scopes=frozenset({"read:logs"}))):
            call = desk.stub.TailLogs(pb.TailLogsRequest())
        found: list[str] = []
        async for event in call:
            if event.HasField("started"):
                begun.release()
            if event.HasField("entry"):
                found.append(event.entry.message)
            if len(found) == 300:
                call.cancel()
                return found
        raise AssertionError("the tail ended")

    following = [asyncio.create_task(follow(tenant)) for tenant in tenants]
    for _ in following:
        await begun.acquire()
    for number in range(30):
        for tenant in set(tenants):
            await desk.write(*(f"{tenant} {number * 10 + n}" for n in range(10)), tenant=tenant)
    async with asyncio.timeout(20):
        found = await asyncio.gather(*following)
    assert found == [[f"{tenant} {n}" for n in range(300)] for tenant in tenants]


async def test_a_reader_slower_than_the_writers_misses_nothing(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "MOST_WAITING", 20)
    tail = Tail(desk)
    await tail.started()
    # Nobody reads meanwhile, and more is written than waits for a reader.
    for start in range(0, 300, 10):
        await desk.write(*(str(n) for n in range(start, start + 10)))
    found = [entry.message for entry in await tail.entries(300)]
    tail.call.cancel()
    assert found == [str(n) for n in range(300)]


async def test_a_tail_survives_an_absence_of_redis(
    desk: Desk, redis_server: RedisServer, redis: aioredis.Redis
) -> None:
    tail = Tail(desk)
    await tail.started()
    await redis_server.stop()
    await redis_server.start()
    await desk.write("after")
    assert [entry.message for entry in await tail.entries(1)] == ["after"]
    tail.call.cancel()
