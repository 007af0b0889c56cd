"""Statements that forget their tenant, or are made to: the policies alone keep tenants apart."""

from typing import TYPE_CHECKING

import asyncpg
import pytest

from services.declared import schemas
from tests.databases import APP, SYSTEM, url_of
from tests.mesh.row_security.test_catalogue import TABLES

if TYPE_CHECKING:
    from tests.databases import OwnedDatabase

MINE, THEIRS = "acme", "globex"
COLUMNS = """
    SELECT attname::text AS name, format_type(atttypid, atttypmod) AS type FROM pg_attribute
    WHERE attrelid = $1::text::regclass AND attnum > 0 AND NOT attisdropped AND attnotnull AND NOT atthasdef
        AND attidentity = '' ORDER BY attnum
"""
VALUES = {
    # What is unique in all tenants has to differ.
    "text": "'{0}'",
    "text[]": "'{{}}'",
    "uuid": "'00000000-0000-0000-0000-000000000001'",
    "bytea": "'{0}'",
    "smallint": "1",
    "integer": "1",
    "bigint": "length('{0}')",
    "boolean": "false",
    "double precision": "1",
    "jsonb": "'{{}}'",
    "timestamp with time zone": "now()",
}
# Values that a check of the table asks for.
CHECKED = {
    ("orchestrator.response", "state"): "'completed'",
    ("memory.passage", "fact_id"): "'00000000-0000-0000-0000-000000000001'",
}
WRITTEN = r"new row violates row-level security policy"


async def tables(database: "OwnedDatabase") -> list[str]:
    """The tables of tenants."""
    return [row["name"] for row in await database.fetch(TABLES, [*schemas()]) if row["of_tenants"]]


async def insertion(database: "OwnedDatabase", table: str, tenant: str) -> str:
    """A statement that adds a row of a tenant."""
    values = {row["name"]: VALUES[row["type"]].format(tenant) for row in await database.fetch(COLUMNS, table)}
    values |= {column: value for (of, column), value in CHECKED.items() if of == table}
    values["tenant_id"] = f"'{tenant}'"
    return f"INSERT INTO {table} ({', '.join(values)}) VALUES ({', '.join(values.values())})"


async def without_checks(database: "OwnedDatabase", statement: str) -> None:
    """Run a statement of the owner without checks of foreign keys."""
    await database.execute(f"SET session_replication_role = replica; {statement}; RESET session_replication_role")


async def filled(database: "OwnedDatabase") -> list[str]:
    """The tables of tenants, each with a row of either tenant."""
    found = await tables(database)
    for table in found:
        for tenant in (MINE, THEIRS):
            await without_checks(database, await insertion(database, table, tenant))
    assert len(found) > 15
    return found


async def test_a_statement_without_a_tenant_sees_and_changes_only_rows_of_its_own(database: "OwnedDatabase") -> None:
    for table in await filled(database):
        async with database.tenants.transaction(MINE) as connection:
            seen = {row["tenant_id"] for row in await connection.fetch(f"SELECT tenant_id FROM {table}")}
            changed = await connection.fetch(f"UPDATE {table} SET tenant_id = tenant_id RETURNING tenant_id")
            locked = await connection.fetch(f"SELECT tenant_id FROM {table} FOR UPDATE")
            # Statements that name the other tenant find nothing either.
            theirs = await connection.fetch(f"DELETE FROM {table} WHERE tenant_id = $1 RETURNING 1", THEIRS)
            assert theirs == [], table
        assert (seen, {row[0] for row in changed}, {row[0] for row in locked}) == ({MINE}, {MINE}, {MINE}), table
        left = await database.fetch(f"SELECT tenant_id FROM {table}")
        assert {row["tenant_id"] for row in left} == {MINE, THEIRS}, table


async def test_no_row_can_be_written_for_another_tenant_or_given_to_it(database: "OwnedDatabase") -> None:
    for table in await filled(database):
        await without_checks(database, f"DELETE FROM {table} WHERE tenant_id = '{THEIRS}'")
        async with database.tenants.connection(MINE) as connection:
            with pytest.raises(asyncpg.InsufficientPrivilegeError, match=WRITTEN):
                await connection.fetch(await insertion(database, table, THEIRS))
            with pytest.raises(asyncpg.InsufficientPrivilegeError, match=WRITTEN):
                await connection.fetch(f"UPDATE {table} SET tenant_id = $1", THEIRS)


@pytest.mark.parametrize("earlier", [False, True], ids=["never set", "set before"])
async def test_without_a_tenant_no_row_is_seen_or_written(
    database: "OwnedDatabase", postgres_url: str, earlier: bool
) -> None:
    found = await filled(database)
    connection = await asyncpg.connect(url_of(APP, postgres_url))
    if earlier:
        # Postgres then has an empty text in place of a setting that does not exist.
        await connection.fetchval("SELECT set_config('soma.tenant', $1, true)", MINE)
    for table in found:
        assert await connection.fetch(f"SELECT FROM {table}") == []
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match=WRITTEN):
            await connection.execute(await insertion(database, table, MINE))
    await connection.close()


async def test_a_role_of_services_cannot_become_another_or_switch_policies_off(
    database: "OwnedDatabase", postgres_url: str
) -> None:
    attempts = {
        APP: (f"SET ROLE {SYSTEM}", "SET ROLE soma", f"SET SESSION AUTHORIZATION {SYSTEM}"),
        SYSTEM: (f"SET ROLE {APP}", "SET ROLE soma"),
    }
    more = (
        "ALTER TABLE memory.fact DISABLE ROW LEVEL SECURITY",
        "DROP POLICY soma_tenant ON memory.fact",
        "CREATE POLICY mine ON memory.fact USING (true)",
        "ALTER TABLE memory.fact OWNER TO CURRENT_USER",
        "TRUNCATE memory.fact",
        "CREATE TABLE memory.mine (x int)",
    )
    for role, statements in attempts.items():
        connection = await asyncpg.connect(url_of(role, postgres_url))
        for statement in (*statements, *more):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement)
        await connection.close()
    # With policies switched off, Postgres refuses to answer rather than to show everything.
    await filled(database)
    connection = await asyncpg.connect(url_of(APP, postgres_url))
    await connection.execute("SET row_security = off")
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="would be affected by row-level security"):
        await connection.fetch("SELECT FROM memory.fact")
    await connection.close()


async def test_the_system_does_only_what_is_declared(database: "OwnedDatabase") -> None:
    async with database.system.connection() as connection:
        for table in ("memory.turn", "memory.conversation", "orchestrator.chat_session"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.fetch(f"SELECT FROM {table}")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.fetch("DELETE FROM model.usage")


async def test_no_tenant_is_no_scope(database: "OwnedDatabase") -> None:
    with pytest.raises(ValueError, match="a tenant has an id"):
        async with database.tenants.connection(""):
            raise AssertionError


@pytest.mark.parametrize("tenant", ["o'brien", 'a"b\\', "ünïcödé", "x'; SET ROLE soma; --", "x" * 5000])
async def test_any_text_is_the_tenant_that_it_names(database: "OwnedDatabase", tenant: str) -> None:
    async with database.tenants.connection(tenant) as connection:
        assert await connection.fetchval("SELECT current_setting('soma.tenant')") == tenant
