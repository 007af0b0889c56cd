"""Only one of several processes works, as long as it runs and its row in the database is its own."""

import asyncio
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING

import pytest

from services.mesh.process.lease import Lease
from services.mesh.testing.waiting import until
from tests.servers import PostgresServer

if TYPE_CHECKING:
    from tests.databases import OwnedDatabase

SECONDS = 1.0
# A process whose job adds a row each time it works, as long as it has the lease.
WORKER = f"""
import asyncio, os, sys
from contextlib import AsyncExitStack
from services.mesh.process import lease
from services.mesh.process.jobs import Job
from services.mesh.testing.jobs import running
from tests.databases import open_database

lease.SECONDS = {SECONDS}

async def main() -> None:
    pool = await open_database(sys.argv[1], AsyncExitStack())

    async def work() -> None:
        await pool.execute("INSERT INTO worked (pid) VALUES ($1)", os.getpid())

    async with running(Job("work", work, every=0.02, alone=True), pool=pool.system):
        await asyncio.Event().wait()

asyncio.run(main())
"""

Start = Callable[[], Awaitable[Process]]


@pytest.fixture
async def start(database: "OwnedDatabase", postgres_url: str) -> AsyncIterator[Start]:
    """Starts a worker; all are killed at the end."""
    await database.execute("CREATE TABLE worked (id bigint GENERATED ALWAYS AS IDENTITY, pid int)")
    processes: list[Process] = []

    async def started() -> Process:
        processes.append(await asyncio.create_subprocess_exec(sys.executable, "-c", WORKER, postgres_url))
        return processes[-1]

    yield started
    for process in processes:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def steps(database: "OwnedDatabase", process: Process) -> int:
    found: int = await database.fetchval("SELECT count(*) FROM worked WHERE pid = $1", process.pid)
    return found


async def reached(database: "OwnedDatabase", process: Process, count: int) -> None:
    async def enough() -> bool:
        return await steps(database, process) >= count

    await until(enough, seconds=60)


async def order(database: "OwnedDatabase") -> list[int]:
    """The processes that worked, in order."""
    return [row["pid"] for row in await database.fetch("SELECT pid FROM worked ORDER BY id")]


async def test_another_process_takes_over_from_one_that_was_killed(database: "OwnedDatabase", start: Start) -> None:
    first = await start()
    await reached(database, first, 1)
    second = await start()
    await reached(database, first, 100)
    assert await steps(database, second) == 0
    first.kill()
    await reached(database, second, 10)
    done = await order(database)
    assert done == sorted(done, key=lambda pid: pid != first.pid)


async def test_a_process_that_was_frozen_does_not_work_after_another_has_taken_over(
    database: "OwnedDatabase", start: Start
) -> None:
    first = await start()
    await reached(database, first, 1)
    second = await start()
    first.send_signal(signal.SIGSTOP)
    await reached(database, second, 1)
    first.send_signal(signal.SIGCONT)
    await reached(database, second, 100)
    done = await order(database)
    # It may have been frozen in the middle of a step.
    assert done[done.index(second.pid) :].count(first.pid) <= 1


async def test_work_ends_before_the_lease_does_while_the_database_is_unavailable(
    database: "OwnedDatabase", postgres_server: PostgresServer
) -> None:
    loop = asyncio.get_running_loop()
    lease, begun, ended = Lease(database.system, "work", SECONDS), asyncio.Event(), loop.create_future()

    async def work() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set_result(loop.time())

    holding = asyncio.create_task(lease.hold(work))
    await begun.wait()
    await postgres_server.stop(signal.SIGKILL)
    away = loop.time()
    try:
        async with asyncio.timeout(10):
            assert await ended - away < SECONDS
            await holding
        assert not lease.held
    finally:
        await postgres_server.start()


async def test_a_lease_can_be_taken_only_after_its_holder_has_released_it(database: "OwnedDatabase") -> None:
    lease, other = Lease(database.system, "work", 60.0), Lease(database.system, "work", 60.0)
    tried: list[str] = []

    async def work() -> None:
        assert lease.held
        await other.hold(never)
        tried.append("held")

    async def never() -> None:
        tried.append("taken")

    await lease.hold(work)
    assert tried == ["held"]
    await other.hold(never)
    assert tried == ["held", "taken"]


async def test_an_exception_of_the_work_is_raised_and_the_lease_released(database: "OwnedDatabase") -> None:
    async def fail() -> None:
        raise LookupError("odd")

    with pytest.raises(LookupError, match="odd"):
        await Lease(database.system, "work", 60.0).hold(fail)
    assert await database.fetchval("SELECT count(*) FROM mesh.lease") == 0


async def test_work_ends_when_the_row_of_its_lease_has_another_holder(database: "OwnedDatabase") -> None:
    lease, begun, ended = Lease(database.system, "work", SECONDS), asyncio.Event(), asyncio.Event()

    async def work() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    holding = asyncio.create_task(lease.hold(work))
    await begun.wait()
    await database.execute("UPDATE mesh.lease SET holder = 'somebody'")
    async with asyncio.timeout(10):
        await holding
    assert ended.is_set()
    assert await database.fetchval("SELECT holder FROM mesh.lease") == "somebody"
