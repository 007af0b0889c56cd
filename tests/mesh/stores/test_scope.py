"""The tenant of a statement: sent with it, and gone with it."""

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from services.mesh.stores.postgres import Database
from tests.databases import url_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.databases import OwnedDatabase

TABLE = """
    CREATE TABLE note (tenant_id text NOT NULL, number int NOT NULL, PRIMARY KEY (tenant_id, number));
    ALTER TABLE note ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
    CREATE POLICY own ON note USING (tenant_id = (SELECT current_setting('soma.tenant', true)));
    INSERT INTO note SELECT tenant, number FROM unnest('{acme,globex}'::text[]) AS tenant,
        generate_series(1, 3) AS number;
"""
WHOSE = "SELECT DISTINCT tenant_id FROM note"
TENANT = "SELECT current_setting('soma.tenant', true)"
ADD = "INSERT INTO note VALUES ($1, $2)"


@pytest.fixture
async def notes(database: "OwnedDatabase", postgres_url: str) -> "AsyncIterator[Database]":
    """Notes of two tenants behind pools of one connection."""
    await database.execute(TABLE)
    async with AsyncExitStack() as stack:
        yield await Database.open(
            url_of("soma_app", postgres_url), stack, system_url=url_of("soma_system", postgres_url), max_size=1
        )


def sent(connection: Any) -> int:
    """How many answers of the server the client has waited for."""
    count: int = connection._protocol.queries_count
    return count


async def left(notes: Database) -> str | None:
    """The tenant that a statement on the same connection would have without being given one."""
    tenant: str | None = await notes.tenants._pool.fetchval(TENANT)
    return tenant


async def test_one_connection_never_mixes_tenants(notes: Database) -> None:
    async def read(tenant: str) -> None:
        async with notes.tenants.connection(tenant) as connection:
            for _ in range(3):
                assert await connection.fetchval(WHOSE) == tenant
        async with notes.tenants.transaction(tenant) as connection:
            for _ in range(3):
                assert [row[0] for row in await connection.fetch(WHOSE)] == [tenant]

    await asyncio.gather(*(read(tenant) for tenant in ("acme", "globex") * 50))
    assert not await left(notes)


async def test_a_statement_with_its_tenant_takes_one_round_trip(notes: Database) -> None:
    """The client waits once for each statement, and once each for the begin and the end of a transaction."""
    async with notes.tenants.connection("acme") as connection:
        await connection.fetchval(WHOSE)
        before = sent(connection)
        for _ in range(5):
            await connection.fetchval(WHOSE)
        assert sent(connection) - before == 5
    async with notes.tenants.transaction("acme") as connection:
        before = sent(connection)
        await connection.fetchval(WHOSE)
        await connection.fetchval(WHOSE)
        assert sent(connection) - before == 2


async def test_a_tenant_ends_with_its_statement_and_with_its_transaction(notes: Database) -> None:
    async with notes.tenants.connection("acme") as connection:
        assert await connection.fetchval(TENANT) == "acme"
    assert await left(notes) == ""
    async with notes.tenants.transaction("globex") as connection:
        await connection.execute(ADD, "globex", 4)
        assert await connection.fetchval(TENANT) == "globex"
        assert await connection.fetchval("SELECT count(*) FROM note") == 4
    assert await left(notes) == ""


@pytest.mark.parametrize("how", ["connection", "transaction"])
async def test_a_failed_statement_leaves_no_tenant_behind(notes: Database, how: str) -> None:
    """Also one that the client refuses after the tenant was sent."""
    failures = (
        (asyncpg.DataError, ("acme", "no number")),
        (asyncpg.DataError, ("acme", 2**40)),
        (asyncpg.UniqueViolationError, ("acme", 1)),
        (asyncpg.InsufficientPrivilegeError, ("globex", 9)),
    )
    for error, arguments in failures:
        with pytest.raises(error):
            async with getattr(notes.tenants, how)("acme") as connection:
                await connection.execute(ADD, *arguments)
        async with notes.tenants.connection("globex") as connection:
            assert [row[0] for row in await connection.fetch(WHOSE)] == ["globex"]
        async with notes.tenants.transaction("globex") as connection:
            assert [row[0] for row in await connection.fetch(WHOSE)] == ["globex"]
        assert not await left(notes)


async def test_a_statement_that_the_client_refuses_leaves_no_transaction_open(
    notes: Database, database: "OwnedDatabase"
) -> None:
    with pytest.raises(asyncpg.DataError):
        async with notes.tenants.connection("acme") as connection:
            process = connection.get_server_pid()
            await connection.execute(ADD, "acme", "no number")
    began = await database.fetchval("SELECT xact_start FROM pg_stat_activity WHERE pid = $1", process)
    assert began is None


async def test_a_cancelled_statement_leaves_no_tenant_behind(notes: Database) -> None:
    async def slow() -> None:
        async with notes.tenants.connection("acme") as connection:
            await connection.fetchval("SELECT pg_sleep(30) FROM note")

    for seconds in (0.0, 0.01, 0.05):
        task = asyncio.create_task(slow())
        await asyncio.sleep(seconds)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        async with notes.tenants.connection("globex") as connection:
            assert [row[0] for row in await connection.fetch(WHOSE)] == ["globex"]
    assert not await left(notes)


async def test_many_rows_are_written_with_one_tenant(notes: Database, database: "OwnedDatabase") -> None:
    async with notes.tenants.connection("acme") as connection:
        await connection.executemany(ADD, [("acme", number) for number in range(10, 5000)])
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.executemany(ADD, [("acme", 9000), ("globex", 9000)])
    counted = await database.fetchrow("SELECT count(*), max(number) FROM note WHERE tenant_id = 'acme'")
    assert counted is not None
    assert tuple(counted) == (4993, 4999)


async def test_a_statement_that_a_change_of_the_schema_made_stale_keeps_its_tenant(
    notes: Database, database: "OwnedDatabase"
) -> None:
    async with notes.tenants.connection("acme") as connection:
        assert len(await connection.fetch("SELECT * FROM note")) == 3
        await database.execute("ALTER TABLE note ADD COLUMN more text")
        assert {row["tenant_id"] for row in await connection.fetch("SELECT * FROM note")} == {"acme"}


async def test_a_statement_without_parameters_has_no_tenant_and_sees_nothing(notes: Database) -> None:
    async with notes.tenants.connection("acme") as connection:
        assert await connection.execute("DELETE FROM note") == "DELETE 0"


async def test_connections_of_the_system_have_no_tenant(notes: Database, database: "OwnedDatabase") -> None:
    async with notes.tenants.connection("acme") as connection:
        assert await connection.fetchval(TENANT) == "acme"
    async with notes.system.connection() as connection:
        assert not await connection.fetchval(TENANT)
        assert await connection.fetchval(WHOSE) is None
    assert await database.fetchval("SELECT count(*) FROM note") == 6
