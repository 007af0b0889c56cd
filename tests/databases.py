"""The Postgres of a test: the pools that services get, and its owner's, with which tests look behind them."""

from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from cli.parts.postgres import ROLES
from services.mesh.stores.postgres import Database, open_pool
from services.mesh.stores.row_security import Roles

if TYPE_CHECKING:
    import asyncpg

    from services.mesh.stores.postgres import Pool

APP, SYSTEM = ROLES
TWO_ROLES = Roles(APP, SYSTEM)
# What a test makes for itself, after the migrations, is everybody's.
SHARE = f"""
    GRANT CREATE ON SCHEMA public TO {APP}, {SYSTEM};
    ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO {APP}, {SYSTEM};
    ALTER DEFAULT PRIVILEGES GRANT ALL ON SCHEMAS TO {APP}, {SYSTEM};
"""


@dataclass(frozen=True)
class OwnedDatabase(Database):
    """The database of a test. Its own methods are those of a pool of the owner, who sees the rows of all tenants."""

    owner: "Pool"

    def acquire(self) -> "asyncpg.pool.PoolAcquireContext[asyncpg.Record]":
        """A connection, for `async with`."""
        return self.owner.acquire()

    async def fetch(self, query: str, *arguments: Any) -> "list[asyncpg.Record]":
        """The rows of a query."""
        return await self.owner.fetch(query, *arguments)

    async def fetchrow(self, query: str, *arguments: Any) -> "asyncpg.Record | None":
        """The first row of a query."""
        return await self.owner.fetchrow(query, *arguments)

    async def fetchval(self, query: str, *arguments: Any) -> Any:
        """The first value of a query."""
        return await self.owner.fetchval(query, *arguments)

    async def execute(self, query: str, *arguments: Any) -> str:
        """Run a statement; its status."""
        return await self.owner.execute(query, *arguments)


def url_of(role: str, owner_url: str) -> str:
    """The URL of the same database for another role; the tests' server asks for no password."""
    host = urlsplit(owner_url).netloc.rpartition("@")[2]
    return urlsplit(owner_url)._replace(netloc=f"{role}@{host}").geturl()


async def open_database(
    owner_url: str, stack: AsyncExitStack, *, max_size: int = 20, application_name: str = "soma"
) -> OwnedDatabase:
    """Open the pools on a database; `stack` closes them."""
    opened = await Database.open(
        url_of(APP, owner_url),
        stack,
        system_url=url_of(SYSTEM, owner_url),
        owner_url=owner_url,
        max_size=max_size,
        application_name=application_name,
    )
    owner = await open_pool(owner_url, application_name=application_name)
    stack.push_async_callback(owner.close)
    return OwnedDatabase(**vars(opened), owner=owner)
