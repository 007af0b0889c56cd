"""Group commit: an item is durable when its caller continues; many share a commit; a bad one fails alone."""

import asyncio
import signal
from collections.abc import Sequence
from typing import TYPE_CHECKING

import pytest

from services.mesh.call import errors
from services.mesh.stores.group_commit import GroupCommit
from services.mesh.testing.waiting import until
from tests.servers import PostgresServer

if TYPE_CHECKING:
    from services.mesh.stores.postgres import Connection
    from tests.databases import OwnedDatabase


class Numbers:
    """A table of numbers that refuses repeated and negative ones, and the batches that were written to it."""

    def __init__(self, pool: "OwnedDatabase") -> None:
        self.pool = pool
        self.batches: list[int] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def write(self, connection: "Connection", numbers: Sequence[int]) -> None:
        await self.gate.wait()
        await connection.execute("INSERT INTO number SELECT * FROM unnest($1::int[])", numbers)
        self.batches.append(len(numbers))

    @property
    def connections(self) -> int:
        """How many the writer's pool has."""
        return self.pool.system._pool.get_size()

    @property
    def busy(self) -> int:
        """How many of them are in use."""
        return self.connections - self.pool.system._pool.get_idle_size()

    async def kept(self) -> list[int]:
        return [row["value"] for row in await self.pool.fetch("SELECT value FROM number ORDER BY value")]


@pytest.fixture
async def numbers(database: "OwnedDatabase") -> Numbers:
    await database.execute("CREATE TABLE number (value int PRIMARY KEY CHECK (value >= 0))")
    return Numbers(database)


async def test_items_that_arrive_during_a_transaction_share_the_next_one(numbers: Numbers) -> None:
    numbers.gate.clear()
    async with GroupCommit(numbers.pool.system, numbers.write, max_batch=30) as group:
        first = group.commit(0)
        await asyncio.sleep(0)
        rest = [group.commit(number) for number in range(1, 41)]
        await asyncio.sleep(0)
        numbers.gate.set()
        await asyncio.gather(first, *rest)
    assert numbers.batches == [1, 30, 10]
    assert await numbers.kept() == list(range(41))


async def test_a_commit_returns_only_when_others_can_see_it(numbers: Numbers) -> None:
    async with GroupCommit(numbers.pool.system, numbers.write) as group:
        for number in range(5):
            await group.commit(number)
            assert await numbers.kept() == list(range(number + 1))


async def test_an_item_that_cannot_be_written_fails_alone(numbers: Numbers) -> None:
    async with GroupCommit(numbers.pool.system, numbers.write) as group:
        outcomes = await asyncio.gather(*(group.commit(n) for n in (1, 2, -1, 3, 2)), return_exceptions=True)
    assert [outcome is None for outcome in outcomes] == [True, True, False, True, False]
    assert await numbers.kept() == [1, 2, 3]


async def test_an_item_whose_caller_is_cancelled_is_written(numbers: Numbers) -> None:
    numbers.gate.clear()
    async with GroupCommit(numbers.pool.system, numbers.write) as group:
        callers = [group.commit(number) for number in range(2)]
        await asyncio.sleep(0)
        callers[1].cancel()
        numbers.gate.set()
        outcomes = await asyncio.gather(*callers, return_exceptions=True)
    assert outcomes[0] is None
    assert isinstance(outcomes[1], asyncio.CancelledError)
    assert await numbers.kept() == [0, 1]


async def test_closing_writes_what_is_queued_and_refuses_what_comes_after(numbers: Numbers) -> None:
    async with GroupCommit(numbers.pool.system, numbers.write, max_batch=2) as group:
        callers = [group.commit(number) for number in range(7)]
        await asyncio.sleep(0)
    assert await asyncio.gather(*callers) == [None] * 7
    assert await numbers.kept() == list(range(7))
    with pytest.raises(errors.Unavailable) as refused:
        await group.commit(8)
    assert refused.value.reason == "STOPPING"


async def test_nothing_acknowledged_is_lost_when_postgres_restarts(
    postgres_server: PostgresServer, numbers: Numbers
) -> None:
    acknowledged: set[int] = set()
    refusals: list[errors.Unavailable] = []
    enough = asyncio.Event()

    async def caller(number: int) -> None:
        while not enough.is_set():
            number += 8
            try:
                await group.commit(number)
                acknowledged.add(number)
            except errors.Unavailable as error:
                refusals.append(error)
                await asyncio.sleep(0.02)

    async def grown(by: int) -> bool:
        return len(acknowledged) >= before + by

    before = 0
    async with GroupCommit(numbers.pool.system, numbers.write) as group, asyncio.TaskGroup() as callers:
        for start in range(8):
            callers.create_task(caller(start))
        await until(lambda: grown(100))
        await postgres_server.stop(signal.SIGKILL)
        before = len(acknowledged)
        await postgres_server.start()
        await until(lambda: grown(100))
        enough.set()
    assert refusals
    assert acknowledged <= set(await numbers.kept())


async def test_a_connection_is_kept_between_commits_and_given_back_when_none_come(numbers: Numbers) -> None:
    async with GroupCommit(numbers.pool.system, numbers.write) as group:
        free = numbers.busy
        for number in range(3):
            await group.commit(number)
            assert numbers.busy == free + 1

        async def given_back() -> bool:
            return numbers.busy == free

        await until(given_back)
        await group.commit(3)
    assert await numbers.kept() == [0, 1, 2, 3]


async def test_a_kept_connection_that_was_closed_meanwhile_is_replaced(numbers: Numbers) -> None:
    async with GroupCommit(numbers.pool.system, numbers.write) as group:
        await group.commit(0)
        await numbers.pool.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
            " AND datname = current_database()"
        )

        async def noticed() -> bool:
            return numbers.connections == 0

        await until(noticed)
        await group.commit(1)
    assert await numbers.kept() == [0, 1]
