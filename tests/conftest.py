"""Fixtures every test may use: one Postgres and one Redis for the whole run, a database of its own for each test."""

import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
import redis.asyncio as aioredis

from services.declared import declarations
from services.mesh.stores.migrations import migrate_mesh
from services.mesh.stores.redis import open_client
from tests.databases import SHARE, TWO_ROLES, OwnedDatabase, open_database
from tests.servers import PostgresServer, RedisServer, start_postgres, start_redis

pytest_plugins = ("tests.size", "tests.workers")
TEMPLATE = "migrated"


@pytest.fixture(scope="session")
async def postgres_server() -> AsyncIterator[PostgresServer]:
    """Postgres with a database `migrated`, in which every service's schema is at its newest version."""
    server = await start_postgres()
    url = await server.create_database(TEMPLATE)
    await migrate_mesh(url, TWO_ROLES)
    for declaration in declarations():
        await declaration.migrate(url, TWO_ROLES)
    await server.execute(SHARE, TEMPLATE)
    yield server
    await server.remove()


@pytest.fixture(scope="session")
async def redis_server() -> AsyncIterator[RedisServer]:
    """An empty Redis."""
    server = await start_redis()
    yield server
    await server.remove()


@pytest.fixture
async def postgres_url(postgres_server: PostgresServer) -> AsyncIterator[str]:
    """A migrated database of the test's own."""
    name = f"test_{uuid.uuid4().hex}"
    yield await postgres_server.create_database(name, TEMPLATE)
    await postgres_server.drop_database(name)


@pytest.fixture
async def database(postgres_url: str) -> AsyncIterator[OwnedDatabase]:
    """The pools of the test's own database."""
    async with AsyncExitStack() as stack:
        yield await open_database(postgres_url, stack)


@pytest.fixture
async def redis_url(redis_server: RedisServer) -> AsyncIterator[str]:
    """A Redis that is empty when the test starts and when it ends."""
    yield redis_server.url
    async with aioredis.Redis.from_url(redis_server.url) as client:
        await client.flushall()


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[aioredis.Redis]:
    """A client of that Redis."""
    async with open_client(redis_url) as client:
        yield client
