"""A Postgres with one role, which owns the tables: what row-level security still does there."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from services.declared import declarations, schemas
from services.mesh.stores import migrations
from services.mesh.stores.group_commit import GroupCommit
from services.mesh.stores.postgres import Database
from services.mesh.stores.row_security import Roles
from tests.databases import TWO_ROLES, url_of
from tests.mesh.row_security.test_attacks import MINE, THEIRS, filled, tables

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.mesh.stores.postgres import Connection
    from tests.databases import OwnedDatabase

ALONE = "soma_alone"
MAKE = f"""
    DO $$ BEGIN CREATE ROLE {ALONE} LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$
"""
GIVE = f"""
    DO $$ DECLARE each record; BEGIN
        FOR each IN SELECT nspname FROM pg_namespace WHERE nspname = ANY(string_to_array('{{schemas}}', ' ')) LOOP
            EXECUTE format('ALTER SCHEMA %I OWNER TO {ALONE}', each.nspname);
        END LOOP;
        FOR each IN SELECT schemaname, tablename FROM pg_tables
            WHERE schemaname = ANY(string_to_array('{{schemas}}', ' ')) LOOP
            EXECUTE format('ALTER TABLE %I.%I OWNER TO {ALONE}', each.schemaname, each.tablename);
        END LOOP;
    END $$
"""


async def migrated(url: str, roles: Roles) -> None:
    """Bring the policies to what these roles need."""
    await migrations.migrate_mesh(url, roles)
    for declaration in declarations():
        await declaration.migrate(url, roles)


@pytest.fixture
async def alone(database: "OwnedDatabase", postgres_url: str) -> AsyncIterator[Database]:
    """A database whose only role owns its tables, and is no superuser."""
    await database.execute(MAKE)
    await database.execute(f"GRANT CREATE ON DATABASE {postgres_url.rpartition('/')[2]} TO {ALONE}")
    await database.execute(GIVE.format(schemas=" ".join(schemas())))
    url = url_of(ALONE, postgres_url)
    await migrated(url, Roles(ALONE, ALONE))
    async with AsyncExitStack() as stack:
        yield await Database.open(url, stack)


async def test_a_tenant_sees_its_rows_and_the_system_those_of_all(alone: Database, database: "OwnedDatabase") -> None:
    commands = {each.name: each.access.system for each in declarations()}
    for table in await filled(database):
        schema, _, name = table.partition(".")
        async with alone.tenants.connection(MINE) as connection:
            seen = {row[0] for row in await connection.fetch(f"SELECT tenant_id FROM {table}")}
        async with alone.system.connection() as connection:
            all_of_them = {row[0] for row in await connection.fetch(f"SELECT tenant_id FROM {table}")}
        assert seen == {MINE}
        if "SELECT" in commands.get(schema, {}).get(name, ""):
            assert all_of_them == {MINE, THEIRS}, table
    assert alone.role == alone.system_role == ALONE


async def test_a_group_commit_writes_for_many_tenants(alone: Database, database: "OwnedDatabase") -> None:
    insert = "INSERT INTO orchestrator.seal_key (id, key) VALUES (1, $1) ON CONFLICT DO NOTHING"
    released = "INSERT INTO mesh.blob_released (tenant_id, hash) VALUES ($1, 'h')"

    async def write(connection: "Connection", tenants: "Sequence[str]") -> None:
        await connection.executemany(released, [(tenant,) for tenant in tenants])
        await connection.execute(insert, b"k" * 32)

    async with GroupCommit(alone.system, write) as group:
        for tenant in (MINE, THEIRS):
            await group.commit(tenant)
    rows = await database.fetch("SELECT tenant_id FROM mesh.blob_released ORDER BY id")
    assert [row["tenant_id"] for row in rows] == [MINE, THEIRS]


async def test_policies_follow_when_the_roles_of_the_settings_change(
    alone: Database, database: "OwnedDatabase", postgres_url: str
) -> None:
    await database.execute(f"REASSIGN OWNED BY {ALONE} TO soma")
    await migrated(postgres_url, TWO_ROLES)
    found = await filled(database)
    assert found == await tables(database)
    for table in found:
        async with database.tenants.connection(THEIRS) as connection:
            rows = await connection.fetch(f"SELECT tenant_id FROM {table}")
        assert {row[0] for row in rows} == {THEIRS}
        policies = await database.fetch("SELECT roles::text[] FROM pg_policies WHERE roles && $1", [ALONE])
        assert policies == []


async def test_a_migration_changes_the_rows_of_all_tenants(
    alone: Database, database: "OwnedDatabase", postgres_url: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("shop")
    (folder / "0001_item.sql").write_text("CREATE TABLE shop.item (tenant_id text NOT NULL, sold boolean);")
    url, roles = url_of(ALONE, postgres_url), Roles(ALONE, ALONE)
    await migrations.migrate(url, "shop", folder, roles)
    await database.execute("INSERT INTO shop.item SELECT unnest($1::text[])", [MINE, THEIRS])
    (folder / "0002_sold.sql").write_text("UPDATE shop.item SET sold = true;")
    await migrations.migrate(url, "shop", folder, roles)
    assert await database.fetchval("SELECT count(*) FROM shop.item WHERE sold") == 2
    async with alone.tenants.connection(MINE) as connection:
        assert await connection.fetchval("SELECT count(*) FROM shop.item") == 1


async def test_the_log_says_what_one_role_loses(alone: Database, postgres_url: str) -> None:
    for url, role, said in ((url_of(ALONE, postgres_url), ALONE, "is weak"), (postgres_url, "soma", "is off")):
        with capture_logs() as logs:
            await migrations.check_roles(url, Roles(role, role))
        assert [(log["log_level"], said in log["event"], log["role"]) for log in logs] == [("warning", True, role)]
