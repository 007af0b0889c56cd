"""The outbox: events are written with the change, and relayed in order at least once, whatever fails."""

import asyncio
import signal
import sys
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest
import redis.asyncio as aioredis
from soma.events.v1.event_pb2 import Event

from services.mesh.events.outbox import Outbox
from services.mesh.events.relay import Relay
from services.mesh.events.stream import FIELD
from services.mesh.stores.migrations import migrate
from services.mesh.testing.jobs import running
from services.mesh.testing.waiting import until
from tests.servers import PostgresServer, RedisServer

if TYPE_CHECKING:
    from tests.databases import OwnedDatabase

STREAM = "soma:events:shop"
SENDS = ("shop.item.sold",)

RELAY = """
import asyncio, sys
from contextlib import AsyncExitStack
from services.mesh.events.outbox import Outbox
from services.mesh.events.relay import Relay
from services.mesh.stores.redis import open_client
from services.mesh.testing.jobs import running
from tests.databases import open_database

async def main() -> None:
    database = await open_database(sys.argv[1], AsyncExitStack())
    relay = Relay(database.system, open_client(sys.argv[2]), Outbox("shop", ()))
    async with running(*relay.jobs):
        await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.fixture
async def outbox(postgres_url: str, tmp_path: Path) -> Outbox:
    """The outbox of a service that has no other tables."""
    await migrate(postgres_url, "shop", tmp_path, outbox=True)
    return Outbox("shop", SENDS)


@pytest.fixture
def relay(outbox: Outbox, database: "OwnedDatabase", redis: aioredis.Redis) -> Relay:
    """The relay of the outbox."""
    return Relay(database.system, redis, outbox)


def sold(number: int) -> Event:
    return Event(event_id=str(uuid.UUID(int=number)), type="shop.item.sold", tenant_id="acme")


async def write(outbox: Outbox, database: "OwnedDatabase", numbers: range) -> None:
    async with database.tenants.transaction("acme") as connection:
        for number in numbers:
            await outbox.add(connection, f"item-{number % 3}", sold(number))


async def streamed(redis: aioredis.Redis) -> list[int]:
    entries = cast(list[tuple[bytes, dict[bytes, bytes]]], await redis.xrange(STREAM))
    return [uuid.UUID(Event.FromString(fields[FIELD.encode()]).event_id).int for _, fields in entries]


async def test_events_of_a_committed_change_are_relayed_in_order(
    outbox: Outbox, relay: Relay, database: "OwnedDatabase", redis: aioredis.Redis
) -> None:
    async with running(*relay.jobs):
        await write(outbox, database, range(600))
        outbox.wake()
        await until(lambda: is_drained(database))
    assert await streamed(redis) == list(range(600))


async def test_events_of_a_change_that_was_rolled_back_are_never_relayed(
    outbox: Outbox, relay: Relay, database: "OwnedDatabase", redis: aioredis.Redis
) -> None:
    async with database.acquire() as connection:
        change = connection.transaction()
        await change.start()
        await outbox.add(connection, "item", sold(1))
        await change.rollback()
    await write(outbox, database, range(2, 3))
    async with running(*relay.jobs):
        await until(lambda: is_streamed(redis, 1))
    assert await streamed(redis) == [2]


async def test_events_written_by_another_process_are_noticed_without_a_wake(
    outbox: Outbox, relay: Relay, database: "OwnedDatabase", redis: aioredis.Redis
) -> None:
    async with running(*relay.jobs):
        await write(outbox, database, range(1))
        await until(lambda: is_streamed(redis, 1))
        await write(outbox, database, range(1, 2))
        await until(lambda: is_streamed(redis, 2))
    assert await streamed(redis) == [0, 1]


async def test_two_relays_keep_the_order_and_repeat_nothing(
    outbox: Outbox, relay: Relay, database: "OwnedDatabase", redis: aioredis.Redis
) -> None:
    async with running(*relay.jobs, *Relay(database.system, redis, outbox).jobs):
        for start in range(0, 500, 10):
            await write(outbox, database, range(start, start + 10))
            outbox.wake()
        await until(lambda: is_streamed(redis, 500))
    assert await streamed(redis) == list(range(500))


async def test_nothing_is_lost_while_redis_is_unavailable(
    outbox: Outbox, relay: Relay, database: "OwnedDatabase", redis: aioredis.Redis, redis_server: RedisServer
) -> None:
    await redis_server.stop(signal.SIGKILL)
    async with running(*relay.jobs):
        await write(outbox, database, range(20))
        outbox.wake()
        await redis_server.start()
        await until(lambda: is_streamed(redis, 20))
    assert await streamed(redis) == list(range(20))


async def test_nothing_is_lost_when_postgres_restarts(
    outbox: Outbox, relay: Relay, database: "OwnedDatabase", redis: aioredis.Redis, postgres_server: PostgresServer
) -> None:
    async with running(*relay.jobs):
        await write(outbox, database, range(300))
        outbox.wake()
        await postgres_server.stop(signal.SIGKILL)
        await postgres_server.start()
        await until(lambda: is_drained(database))
    assert sorted(set(await streamed(redis))) == list(range(300))


async def test_nothing_is_lost_when_the_relay_is_killed(
    outbox: Outbox, relay: Relay, database: "OwnedDatabase", redis: aioredis.Redis, postgres_url: str, redis_url: str
) -> None:
    await write(outbox, database, range(3000))
    killed = await asyncio.create_subprocess_exec(sys.executable, "-c", RELAY, postgres_url, redis_url)
    await until(lambda: is_streamed(redis, 1))
    killed.kill()
    await killed.wait()
    async with running(*relay.jobs):
        await until(lambda: is_drained(database))
    found = await streamed(redis)
    assert sorted(set(found)) == list(range(3000))
    first_seen = list(dict.fromkeys(found))
    assert first_seen == sorted(first_seen)


async def is_streamed(redis: aioredis.Redis, count: int) -> bool:
    try:
        return bool(await redis.xlen(STREAM) >= count)
    except aioredis.ConnectionError:
        return False


async def is_drained(database: "OwnedDatabase") -> bool:
    return bool(await database.fetchval("SELECT count(*) = 0 FROM shop.outbox"))
