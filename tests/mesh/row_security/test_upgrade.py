"""A database of the version before row-level security: its rows stay, each with its tenant."""

import shutil
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from services.declared import declarations, schemas
from services.mesh.stores import migrations
from tests.databases import TWO_ROLES, OwnedDatabase, open_database
from tests.servers import PostgresServer

ROWS = """
    INSERT INTO orchestrator.chat_session (id, tenant_id, subject, session_type, model_name, user_id, title, agent_id,
        template, instructions)
    SELECT md5(tenant)::uuid, tenant, '', '', '', '', '', '', '', '' FROM unnest('{acme,globex}'::text[]) AS tenant;
    INSERT INTO orchestrator.chat_session_request (session_id, request_id, claimed_until)
    SELECT id, id, now() FROM orchestrator.chat_session;
    INSERT INTO orchestrator.response (tenant_id, response_id, previous_response_id, state, input, response)
    SELECT tenant, 'resp_' || tenant, '', 'completed', '', '' FROM unnest('{acme,globex}'::text[]) AS tenant;
    INSERT INTO orchestrator.response_event (response_id, sequence, event)
    SELECT response_id, 1, '' FROM orchestrator.response;
    INSERT INTO memory.fact (tenant_id, key, value, facets)
    SELECT tenant, 'k', '', '{}' FROM unnest('{acme,globex}'::text[]) AS tenant;
    INSERT INTO memory.passage (tenant_id, fact_id, heading, text) SELECT tenant_id, id, '', 'tea' FROM memory.fact;
"""
TABLES = ("chat_session", "chat_session_request", "response", "response_event")


@pytest.fixture
async def earlier(postgres_server: PostgresServer, tmp_path: Path) -> AsyncIterator[str]:
    """The URL of a database of the version before, with rows of two tenants."""
    name = f"test_{uuid.uuid4().hex}"
    url = await postgres_server.create_database(name)
    sending = {declaration.name for declaration in declarations() if declaration.sends}
    for schema, folder in schemas().items():
        (first,) = folder.glob("*_tenant_first.sql")
        (tmp_path / schema).mkdir()
        for file in folder.glob("*.sql"):
            if file.name < first.name:
                shutil.copy(file, tmp_path / schema)
        await migrations.migrate(url, schema, tmp_path / schema, outbox=schema in sending)
    await postgres_server.execute(ROWS, name)
    yield url
    await postgres_server.drop_database(name)


async def test_rows_keep_their_tenant_and_are_found_by_it_alone(earlier: str) -> None:
    await migrations.migrate_mesh(earlier, TWO_ROLES)
    for declaration in declarations():
        await declaration.migrate(earlier, TWO_ROLES)
    async with AsyncExitStack() as stack:
        database: OwnedDatabase = await open_database(earlier, stack)
        for table in (*(f"orchestrator.{name}" for name in TABLES), "memory.fact", "memory.passage"):
            assert await database.fetchval(f"SELECT count(*) FROM {table}") == 2
            for tenant in ("acme", "globex"):
                async with database.tenants.connection(tenant) as connection:
                    rows = await connection.fetch(f"SELECT tenant_id FROM {table}")
                assert [row["tenant_id"] for row in rows] == [tenant]
        async with database.tenants.connection("acme") as connection:
            await connection.fetch("DELETE FROM orchestrator.response")
            await connection.fetch("DELETE FROM memory.fact")
        assert await database.fetchval("SELECT tenant_id FROM orchestrator.response_event") == "globex"
        assert await database.fetchval("SELECT tenant_id FROM memory.passage") == "globex"
