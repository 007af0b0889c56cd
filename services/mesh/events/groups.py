"""Which services consume the events of which area. This is kept in Postgres, because Redis may lose its groups."""

from collections.abc import Collection
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from services.mesh.stores.postgres import Connection, SystemPool

_REGISTER = """
    INSERT INTO mesh.event_group (consumer, area) VALUES ($1, $2)
    ON CONFLICT (consumer, area) DO UPDATE SET retired = false
"""
_RETIRE = "UPDATE mesh.event_group SET retired = true WHERE consumer = $1 AND area <> ALL($2::text[])"
_OF = "SELECT consumer FROM mesh.event_group WHERE area = $1 AND retired = $2 ORDER BY consumer"
_FORGET = "DELETE FROM mesh.event_group WHERE consumer = $1 AND area = $2 AND retired"


async def register(pool: "SystemPool", consumer: str, area: str) -> None:
    """Register a consumer: from now on the area keeps its events until it has handled them."""
    async with pool.connection() as connection:
        await connection.execute(_REGISTER, consumer, area)


async def retire(pool: "SystemPool", consumer: str, areas: Collection[str]) -> None:
    """Retire a service from all areas but these: other areas no longer keep events for it."""
    async with pool.connection() as connection:
        await connection.execute(_RETIRE, consumer, list(areas))


async def registered(connection: "Connection", area: str) -> list[str]:
    """The consumers of an area, by name."""
    return [row[0] for row in await connection.fetch(_OF, area, False)]


async def retired(connection: "Connection", area: str) -> list[str]:
    """Former consumers of an area, whose groups may still be in Redis."""
    return [row[0] for row in await connection.fetch(_OF, area, True)]


async def forget(connection: "Connection", consumer: str, area: str) -> None:
    """Forget a former consumer whose group is deleted, unless it has registered again meanwhile."""
    await connection.execute(_FORGET, consumer, area)
