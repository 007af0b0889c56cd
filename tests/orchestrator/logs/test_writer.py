"""Entries on their way to the log: gathered, waiting while Redis is away, and bounded."""

import asyncio
from collections.abc import Sequence

import redis.asyncio as aioredis
from prometheus_client import REGISTRY
from soma.orchestrator.v1 import log_service_pb2 as pb

from services.mesh.call.errors import Unavailable
from services.mesh.testing.jobs import running
from services.mesh.testing.waiting import until
from services.orchestrator.logs import writer as writing
from services.orchestrator.logs.entry import Task
from services.orchestrator.logs.store import RedisLogStore
from services.orchestrator.logs.writer import LogWriter
from tests.orchestrator.logs.conftest import BOUNDS

TASK = Task("t-1", "session")


class Away(RedisLogStore):
    """A log that cannot be written for a while."""

    def __init__(self, client: aioredis.Redis) -> None:
        super().__init__(client, BOUNDS)
        self.away = True
        self.tried = asyncio.Event()
        self.writes = 0

    async def append(self, tenant_id: str, entries: Sequence[pb.LogEntry]) -> None:
        self.tried.set()
        if self.away:
            raise Unavailable("away")
        self.writes += 1
        await super().append(tenant_id, entries)


async def test_entries_wait_while_redis_is_away_and_share_a_write_when_it_is_back(redis: aioredis.Redis) -> None:
    store = Away(redis)
    writer = LogWriter(store)
    async with running(writer.job):
        for number in range(20):
            writer.record("acme", TASK, str(number), {})
        async with asyncio.timeout(15):
            await store.tried.wait()
        store.away = False
        await until(lambda: redis.xlen("soma:logs:{acme}"), seconds=10)
    assert [entry.message for entry in await store.after("acme", "", (0, 0), 100)] == [str(n) for n in range(20)]
    assert store.writes == 1


async def test_the_oldest_entries_are_dropped_and_counted_if_too_many_wait(redis: aioredis.Redis) -> None:
    def dropped() -> float:
        return REGISTRY.get_sample_value("soma_orchestrator_log_entries_dropped_total") or 0

    before = dropped()
    store = Away(redis)
    writer = LogWriter(store)
    for number in range(writing.MOST_WAITING + 5):
        writer.record("acme", TASK, str(number), {})
    assert dropped() == before + 5
    await writer.close()
    assert dropped() == before + writing.MOST_WAITING + 5


async def test_a_closing_writer_writes_the_waiting_entries(redis: aioredis.Redis) -> None:
    store = Away(redis)
    store.away = False
    writer = LogWriter(store)
    writer.record("acme", TASK, "last", {})
    writer.record("globex", TASK, "last", {})
    await writer.close()
    assert [await redis.xlen(f"soma:logs:{{{tenant}}}") for tenant in ("acme", "globex")] == [1, 1]


async def test_entries_that_come_during_a_write_are_left_to_the_next_one(redis: aioredis.Redis) -> None:
    class Growing(RedisLogStore):
        """A log that gets another entry during each write."""

        async def append(self, tenant_id: str, entries: Sequence[pb.LogEntry]) -> None:
            await super().append(tenant_id, entries)
            writer.record("acme", TASK, "during", {})

    writer = LogWriter(Growing(redis, BOUNDS))
    writer.record("acme", TASK, "before", {})
    await writer.flush()
    assert await redis.xlen("soma:logs:{acme}") == 1
    await writer.flush()
    assert await redis.xlen("soma:logs:{acme}") == 2
