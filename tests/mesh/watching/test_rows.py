"""Sequences in rows: watchers are notified at once, in every process, and read nothing while nobody appends."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING

import pytest
import redis.asyncio as aioredis

from services.mesh.stores.redis import open_client
from services.mesh.testing.jobs import running
from services.mesh.testing.waiting import until
from services.mesh.watching import rows
from services.mesh.watching.rows import Found, RowSequences
from services.mesh.watching.streams import StreamReader
from services.mesh.watching.watch import follow
from tests.databases import open_database
from tests.servers import PostgresServer, RedisServer

if TYPE_CHECKING:
    from tests.databases import OwnedDatabase

TABLE = "CREATE TABLE number (name text, place bigint, PRIMARY KEY (name, place))"
# Longer than any test takes, so that a watcher does not poll.
NEVER = 1000.0


@dataclass
class Numbers:
    """Sequences of numbers, as one process sees them."""

    pool: "OwnedDatabase"
    sequences: RowSequences
    reads: int = 0
    seen: list[int] = field(default_factory=list)

    async def append(self, *places: int, name: str = "n") -> None:
        """Add numbers, and notify the watchers."""
        async with self.pool.system.connection() as acquired:
            await acquired.executemany("INSERT INTO number VALUES ($1, $2)", [(name, place) for place in places])
        self.sequences.appended(name)

    async def read(self, place: int) -> Found[int]:
        """Read the items from a place on."""
        async with self.pool.system.connection() as acquired:
            found = await acquired.fetch(
                "SELECT place FROM number WHERE name = 'n' AND place >= $1 ORDER BY place LIMIT 3", place
            )
        # Counted after the read has ended, because a test that waits for a read may then stop Postgres.
        self.reads += 1
        items = [row[0] for row in found]
        return Found(items, items[-1] + 1 if items else place)

    async def follow(self, place: int = 0, last: int = 10**9) -> list[int]:
        """Everything from a place down to `last`."""
        with self.sequences.watch("n", place, self.read) as watch:
            async for item in follow(watch, NEVER):
                if item is not None:
                    self.seen.append(item)
                if item == last:
                    break
        return self.seen


@asynccontextmanager
async def process(pool: "OwnedDatabase", url: str) -> AsyncIterator[Numbers]:
    """Numbers with a client of their own, and their jobs."""
    async with open_client(url) as client:
        reader = StreamReader(client)
        sequences = RowSequences(client, reader, "test")
        async with running(reader.job, sequences.job):
            yield Numbers(pool, sequences)


@pytest.fixture
async def table(database: "OwnedDatabase") -> "OwnedDatabase":
    """A pool on a database with numbers."""
    await database.execute(TABLE)
    return database


@pytest.fixture
async def here(table: "OwnedDatabase", redis_url: str) -> AsyncIterator[Numbers]:
    """The process that watches."""
    async with process(table, redis_url) as made:
        yield made


@pytest.fixture
async def elsewhere(table: "OwnedDatabase", redis_url: str, postgres_url: str) -> AsyncIterator[Numbers]:
    """Another process, with a pool of its own."""
    async with AsyncExitStack() as stack, process(await open_database(postgres_url, stack), redis_url) as made:
        yield made


async def idle(numbers: Numbers, reads: int) -> None:
    """Wait until this number of reads has been made."""

    async def read() -> bool:
        return numbers.reads >= reads

    await until(read)


async def test_an_idle_watcher_reads_nothing(here: Numbers) -> None:
    with here.sequences.watch("n", 0, here.read) as watch:
        assert list(await watch.next(0.5)) == []
        before = here.reads
        began = monotonic()
        assert list(await watch.next(3.0)) == []
        assert monotonic() - began >= 2.9
    assert before <= 2
    assert here.reads == before


@pytest.mark.parametrize(("place", "expected"), [(0, list(range(8))), (5, [5, 6, 7]), (8, []), (20, [])])
async def test_existing_items_are_read_from_the_given_place(here: Numbers, place: int, expected: list[int]) -> None:
    await here.append(*range(8))
    with here.sequences.watch("n", place, here.read) as watch:
        found: list[int] = []
        while items := await watch.next(0.1):
            found += items
    assert found == expected


async def test_a_watcher_is_notified_of_items_that_another_process_appends(
    here: Numbers, elsewhere: Numbers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "LOOK_SECONDS", NEVER)
    monkeypatch.setattr(rows, "LOOK_SECONDS_ALONE", NEVER)
    following = asyncio.create_task(here.follow(last=199))
    await idle(here, 1)
    for place in range(200):
        await elsewhere.append(place)
    async with asyncio.timeout(10):
        assert await following == list(range(200))


async def test_a_watcher_of_another_sequence_is_not_woken(here: Numbers, elsewhere: Numbers) -> None:
    following = asyncio.create_task(here.follow(last=1))
    await elsewhere.append(0)
    await idle(here, 3)
    with here.sequences.watch("m", 0, here.read):
        before = here.reads
        await elsewhere.append(0, 1, 2, name="m")
        await elsewhere.append(1)
        async with asyncio.timeout(10):
            await following
    assert here.reads - before <= 2


async def test_appends_of_a_short_time_are_announced_with_one_command(redis: aioredis.Redis, here: Numbers) -> None:
    for number in range(50):
        here.sequences.appended(f"n-{number}", "n")

    async def said() -> int:
        return int(await redis.xlen(here.sequences.key))

    await until(said)
    assert await said() == 1


async def test_a_watcher_that_has_ended_reads_nothing_more(here: Numbers) -> None:
    following = asyncio.create_task(here.follow())
    await here.append(0)
    await idle(here, 1)
    following.cancel()
    await asyncio.wait([following])
    before = here.reads
    with here.sequences.watch("m", 0, here.read) as other:
        await here.append(1)
        await here.append(0, name="m")
        # The watch of this name is woken; the one that ended is not.
        await other.next(0.0)
    assert here.reads == before + 1


async def test_a_watcher_polls_while_redis_is_unavailable_and_is_notified_once_it_is_back(
    here: Numbers, elsewhere: Numbers, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "LOOK_SECONDS", NEVER)
    monkeypatch.setattr(rows, "LOOK_SECONDS_ALONE", 0.2)
    following = asyncio.create_task(here.follow(last=3))

    async def seen(place: int) -> None:
        async def found() -> bool:
            return place in here.seen

        await until(found)

    await elsewhere.append(0)
    await seen(0)
    await redis_server.stop()
    await elsewhere.append(1)
    await seen(1)
    # Nobody notified this watcher; it read at the latest when Redis was back.
    monkeypatch.setattr(rows, "LOOK_SECONDS_ALONE", NEVER)
    await elsewhere.append(2)
    await redis_server.start()
    await seen(2)
    await elsewhere.append(3)
    async with asyncio.timeout(10):
        assert await following == [0, 1, 2, 3]


async def test_a_watcher_that_begins_while_redis_is_unavailable_is_notified_by_its_own_process(
    here: Numbers, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "LOOK_SECONDS", NEVER)
    monkeypatch.setattr(rows, "LOOK_SECONDS_ALONE", NEVER)
    await redis_server.stop()
    try:
        following = asyncio.create_task(here.follow(last=0))
        await idle(here, 1)
        await here.append(0)
        async with asyncio.timeout(10):
            assert await following == [0]
    finally:
        await redis_server.start()


async def test_an_idle_watcher_is_not_disturbed_by_a_restart_of_postgres(
    here: Numbers, postgres_server: PostgresServer
) -> None:
    following = asyncio.create_task(here.follow(last=0))
    await idle(here, 2)
    await postgres_server.stop()
    await postgres_server.start()
    await here.append(0)
    async with asyncio.timeout(10):
        assert await following == [0]
