"""Failures between sending and handling: no event is lost, and none takes effect twice."""

import asyncio
import dataclasses
import signal
import sys
from typing import TYPE_CHECKING

import pytest
from soma.events.v1.event_pb2 import Event

from services.mesh.call import errors
from services.mesh.testing.jobs import running
from services.mesh.testing.waiting import until
from tests.mesh.events.conftest import STREAM, Shop, caught_up, noting, number_of
from tests.servers import PostgresServer, RedisServer

if TYPE_CHECKING:
    from services.mesh.stores.postgres import Connection

# A process that dies after the commit, just before it acknowledges the event.
KILLED_BEFORE_ACKNOWLEDGING = """
import asyncio, os, signal, sys
from contextlib import AsyncExitStack
from services.mesh.events.stream import EventStream
from services.mesh.stores.redis import open_client
from tests.databases import open_database
from tests.mesh.events.conftest import Shop, caught_up

async def killed(*_):
    os.kill(os.getpid(), signal.SIGKILL)

async def main() -> None:
    EventStream.acknowledge = killed
    await caught_up(Shop(await open_database(sys.argv[1], AsyncExitStack()), open_client(sys.argv[2])).following())

asyncio.run(main())
"""
# A process that handles one event after the other, each slowly. If it is killed, another soon takes over.
SLOW = """
import asyncio, sys
from contextlib import AsyncExitStack
from services.mesh.process import lease
from services.mesh.stores.redis import open_client
from services.mesh.testing.jobs import running
from tests.databases import open_database
from tests.mesh.events.conftest import Shop, noting

async def slowly(connection, event):
    await noting("stock")(connection, event)
    await asyncio.sleep(0.02)

async def main() -> None:
    lease.SECONDS = 2.0
    pool = await open_database(sys.argv[1], AsyncExitStack())
    shop = Shop(pool, open_client(sys.argv[2]))
    async with running(*shop.jobs(handler=slowly), pool=pool.system):
        await asyncio.Event().wait()

asyncio.run(main())
"""


async def started(script: str, *arguments: str) -> asyncio.subprocess.Process:
    """A process that runs a script."""
    return await asyncio.create_subprocess_exec(sys.executable, "-c", script, *arguments)


async def test_a_kill_between_commit_and_acknowledgement_repeats_no_effect(
    shop: Shop, postgres_url: str, redis_url: str
) -> None:
    await shop.sell(1, 2, 3)
    await shop.relayed()
    process = await started(KILLED_BEFORE_ACKNOWLEDGING, postgres_url, redis_url)
    assert await process.wait() == -signal.SIGKILL
    assert await shop.effects() == [1, 2, 3]
    assert [group.pending for group in await shop.relay._stream.groups()] == [3]
    await caught_up(shop.following())
    assert await shop.effects() == [1, 2, 3]
    assert [group.pending for group in await shop.relay._stream.groups()] == [0]


async def test_a_kill_at_any_moment_loses_and_repeats_nothing(shop: Shop, postgres_url: str, redis_url: str) -> None:
    await shop.sell(*range(100))
    await shop.relayed()
    process = await started(SLOW, postgres_url, redis_url)
    await until(lambda: shop.has_effects(5))
    process.kill()
    await process.wait()
    async with running(*shop.jobs(), pool=shop.pool.system):
        # The lease of the killed process must end first.
        await until(lambda: shop.has_effects(100), seconds=30)
    assert await shop.effects() == list(range(100))


async def test_two_processes_with_the_same_consumer_handle_each_event_once(
    shop: Shop, postgres_url: str, redis_url: str
) -> None:
    first = await started(SLOW, postgres_url, redis_url)
    second = await started(SLOW, postgres_url, redis_url)
    try:
        async with running(*shop.relay.jobs):
            for number in range(60):
                await shop.sell(number)
            await until(lambda: shop.has_effects(60), seconds=30)
    finally:
        for process in (first, second):
            process.kill()
            await process.wait()
    assert await shop.effects() == list(range(60))


async def test_a_process_that_continues_after_it_was_frozen_repeats_no_effect(shop: Shop) -> None:
    """The process still handles what it had read, while another, which has the lease by then, does so too."""
    frozen, entered = asyncio.Event(), asyncio.Event()

    async def freezing(connection: "Connection", event: Event) -> None:
        await noting("stock")(connection, event)
        entered.set()
        await frozen.wait()

    await shop.sell(*range(10))
    await shop.relayed()
    asleep, awake = (
        dataclasses.replace(job, alone=False) for job in (shop.following(handler=freezing), shop.following())
    )
    async with running(asleep):
        await entered.wait()
        async with running(awake):
            # The other process reads the same event, and waits for the transaction of the first.
            await until(lambda: _waits_for_a_lock(shop))
            frozen.set()
            await until(lambda: shop.has_effects(10))
            await until(lambda: _handled(shop, 10))
    assert await shop.effects() == list(range(10))


async def _waits_for_a_lock(shop: Shop) -> bool:
    return bool(
        await shop.pool.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%mesh.consumed%'"
        )
    )


async def _handled(shop: Shop, count: int) -> bool:
    """Whether everything is acknowledged."""
    (group,) = await shop.relay._stream.groups()
    return (group.unread, group.pending) == (0, 0) and await shop.has_effects(count)


async def test_events_that_redis_lost_after_the_relay_are_added_again_and_handled_once(shop: Shop) -> None:
    await caught_up(shop.following())
    await shop.sell(*range(10))
    await shop.relayed()

    async def three(connection: "Connection", event: Event) -> None:
        if number_of(event) == 3:
            raise errors.Unavailable("away")
        await noting("stock")(connection, event)

    with pytest.raises(errors.Unavailable):
        await caught_up(shop.following(handler=three))
    assert await shop.effects() == [0, 1, 2]
    await shop.redis.flushall()
    async with running(*shop.relay.jobs, *shop.jobs(), pool=shop.pool.system):
        await until(lambda: shop.has_effects(10))
        await shop.sell(10)
        await until(lambda: shop.has_effects(11))
    assert await shop.effects() == list(range(11))


async def test_events_that_redis_lost_while_a_consumer_was_stopped_are_added_again_for_it(shop: Shop) -> None:
    await caught_up(shop.following())
    await shop.sell(*range(5))
    await shop.relayed()
    await shop.redis.flushall()
    await shop.trimmed()
    assert await shop.kept() == 5
    # The relay notices without anything new to send.
    async with running(*shop.relay.jobs):
        await until(lambda: _has_length(shop, 5))
    await shop.trimmed()
    await caught_up(shop.following())
    assert await shop.effects() == list(range(5))


async def _has_length(shop: Shop, count: int) -> bool:
    return await shop.length() == count


async def test_the_newest_entries_that_redis_lost_are_added_again(shop: Shop) -> None:
    follow = shop.following()
    await caught_up(follow)
    await shop.sell(1, 2)
    await shop.relayed()
    older = await shop.redis.dump(STREAM)
    assert older is not None
    await shop.sell(3, 4)
    await shop.relayed()
    await caught_up(follow)
    await shop.redis.restore(STREAM, 0, older, replace=True)
    await shop.sell(5)
    await shop.relayed()
    assert await shop.length() == 5
    await caught_up(follow)
    assert await shop.effects() == [1, 2, 3, 4, 5]


async def test_events_are_handled_after_redis_was_unavailable_for_a_while(
    shop: Shop, redis_server: RedisServer
) -> None:
    async with running(*shop.relay.jobs, *shop.jobs(), pool=shop.pool.system):
        await shop.sell(0, 1)
        await until(lambda: shop.has_effects(2))
        await redis_server.stop(signal.SIGKILL)
        await shop.sell(2, 3)
        await redis_server.start()
        await until(lambda: shop.has_effects(4))
        await shop.sell(4)
        await until(lambda: shop.has_effects(5))
    assert await shop.effects() == [0, 1, 2, 3, 4]


async def test_events_are_handled_after_postgres_was_killed(shop: Shop, postgres_server: PostgresServer) -> None:
    async with running(*shop.relay.jobs, *shop.jobs(), pool=shop.pool.system):
        await shop.sell(*range(50))
        await postgres_server.stop(signal.SIGKILL)
        await postgres_server.start()
        await until(lambda: _shows(shop, 50), seconds=30)
    assert await shop.effects() == list(range(50))
    assert not await shop.letters()


async def _shows(shop: Shop, count: int) -> bool:
    """Whether there is this number of effects; False while Postgres is unavailable."""
    try:
        return await shop.has_effects(count)
    except Exception:
        return False
