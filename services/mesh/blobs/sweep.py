"""Deletes objects that nobody needs any more."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import structlog

from services.mesh.blobs import references
from services.mesh.blobs.store import KEPT, TRANSIENT, Store
from services.mesh.process.jobs import Job

if TYPE_CHECKING:
    from services.mesh.stores.postgres import SystemPool

log = structlog.get_logger("blobs")

EVERY_SECONDS = 10.0
TRANSIENT_EVERY_SECONDS = 600.0
ORPHANS_EVERY_SECONDS = 6 * 3600.0
# A process that still holds an object writes it again before it is so old.
TRANSIENT_AGE = timedelta(hours=1)
# Long after the transaction must have ended that an object was stored for.
ORPHAN_AGE = timedelta(days=1)
_BATCH = 500
# A backup shares this lock while it copies the store: what its copy of the database refers to has to be there.
SHARE_LOCK = "SELECT pg_advisory_lock_shared(hashtextextended('soma.blobs', 0))"
_LOCK = "SELECT pg_try_advisory_xact_lock(hashtextextended('soma.blobs', 0))"


class Sweep:
    """The background work of a store."""

    def __init__(self, store: Store, pool: "SystemPool") -> None:
        self._store = store
        self._pool = pool

    @property
    def jobs(self) -> tuple[Job, ...]:
        """Each runs in one process of the stack."""
        return (
            Job("blobs", self.delete_released, every=EVERY_SECONDS, alone=True),
            Job("blobs_transient", self.delete_transient, every=TRANSIENT_EVERY_SECONDS, alone=True),
            Job("blobs_orphans", self.delete_orphans, every=ORPHANS_EVERY_SECONDS, first=60.0, alone=True),
        )

    async def delete_released(self) -> bool:
        """Delete bytes that have lost their last owner; returns whether there is more to do."""
        async with self._pool.transaction() as connection:
            looked_at = await references.discard_released(connection, _BATCH)
        async with self._pool.transaction() as connection:
            if not await connection.fetchval(_LOCK):
                return False
            keys = await references.garbage(connection, _BATCH)
            await self._store.delete(keys)
            await references.forget_garbage(connection, keys)
        return max(looked_at, len(keys)) == _BATCH

    async def delete_transient(self) -> None:
        """Delete what processes that were killed have left behind."""
        async for keys in self._old(TRANSIENT, TRANSIENT_AGE):
            await self._store.delete(keys)
            log.info("blobs left behind deleted", folder=TRANSIENT, count=len(keys))

    async def delete_orphans(self) -> None:
        """Delete objects that no row refers to, because the transaction was not committed that they were stored for."""
        async for keys in self._old(KEPT, ORPHAN_AGE):
            async with self._pool.connection() as connection:
                orphans = await references.unknown(connection, keys)
            if orphans:
                await self._store.delete(orphans)
                log.info("blobs left behind deleted", folder=KEPT, count=len(orphans))

    async def _old(self, folder: str, age: timedelta) -> AsyncIterator[list[str]]:
        """The keys of objects in a folder that are older than `age`, some at a time."""
        now = datetime.now(UTC)
        keys: list[str] = []
        async for found in self._store.list(folder):
            if now - found.modified > age:
                keys.append(found.key)
            if len(keys) == _BATCH:
                yield keys
                keys = []
        if keys:
            yield keys
