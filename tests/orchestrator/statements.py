"""Pools of Postgres that show a test each statement before it is sent, and let it refuse one."""

from collections.abc import Callable, Generator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from services.mesh.stores.postgres import SystemPool, TenantPool

if TYPE_CHECKING:
    from services.mesh.stores.postgres import Pool
    from tests.databases import OwnedDatabase

_SENDS = frozenset(("execute", "executemany", "fetch", "fetchrow", "fetchval"))


def seen(database: "OwnedDatabase", see: Callable[[str], object]) -> "OwnedDatabase":
    """The same database; `see` is given each statement of a service first, and what it raises is raised instead."""
    tenants: Any = _SeenPool(database.tenants._pool, see)
    system: Any = _SeenPool(database.system._pool, see)
    return replace(database, tenants=TenantPool(tenants), system=SystemPool(system))


class _SeenPool:
    """What `pool` does."""

    def __init__(self, pool: "Pool", see: Callable[[str], object]) -> None:
        self._pool = pool
        self._see = see

    def acquire(self, **how: Any) -> "_Acquiring":
        """A connection, for `async with` or `await`, whose statements `see` is given."""
        return _Acquiring(self._pool.acquire(**how), self._see)

    async def release(self, connection: "_Seen") -> None:
        """Give a connection back to the pool."""
        await self._pool.release(connection.connection)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pool, name)


class _Acquiring:
    """To be awaited, or entered."""

    def __init__(self, acquiring: Any, see: Callable[[str], object]) -> None:
        self._acquiring = acquiring
        self._see = see

    def __await__(self) -> "Generator[Any, None, _Seen]":
        connection = yield from self._acquiring.__await__()
        return _Seen(connection, self._see)

    async def __aenter__(self) -> "_Seen":
        return _Seen(await self._acquiring.__aenter__(), self._see)

    async def __aexit__(self, *raised: object) -> None:
        await self._acquiring.__aexit__(*raised)


class _Seen:
    """A connection whose statements are shown."""

    def __init__(self, connection: Any, see: Callable[[str], object]) -> None:
        self.connection = connection
        self._see = see

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.connection, name)
        if name not in _SENDS:
            return found

        async def sent(statement: str, *arguments: Any, **how: Any) -> Any:
            self._see(statement)
            return await found(statement, *arguments, **how)

        return sent
