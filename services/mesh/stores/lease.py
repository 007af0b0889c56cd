"""Lets one process of many do something: a row in Postgres says who, and until when.

A row and not an advisory lock: behind a pooler, a session's lock stays with the pooler's connection. Only the clock of
the database counts for who may take the row, and only its own monotonic clock for how long a process may work.
"""

import asyncio
import uuid
from collections.abc import Callable, Coroutine
from contextlib import suppress
from contextvars import Context
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

import structlog

from services.mesh.call import errors
from services.mesh.process import tasks
from services.mesh.stores import postgres

if TYPE_CHECKING:
    from services.mesh.stores.postgres import Pool

log = structlog.get_logger("mesh")

SCHEMA = "mesh"
MIGRATIONS = Path(__file__).parent / "migrations"
# After so many seconds another process takes over from one that was killed.
SECONDS = 10.0
_RELEASE_SECONDS = 1.0

_TAKE = """
    INSERT INTO mesh.lease AS held (name, holder, until)
    VALUES ($1, $2, clock_timestamp() + make_interval(secs => $3))
    ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until = excluded.until
    WHERE held.holder = excluded.holder OR held.until < clock_timestamp()
    RETURNING true
"""
_RELEASE = "DELETE FROM mesh.lease WHERE name = $1 AND holder = $2"


class Lease:
    """One holder's claim to a name; work under it ends a quarter of `seconds` before another may take over."""

    def __init__(self, pool: "Pool", name: str, seconds: float) -> None:
        self._pool = pool
        self._name = name
        self._seconds = seconds
        self._holder = str(uuid.uuid4())
        self._until = 0.0

    @property
    def pause(self) -> float:
        """Seconds between two looks at the row, by its holder and by those who wait for it."""
        return self._seconds / 4

    @property
    def held(self) -> bool:
        """Whether work may go on now."""
        return monotonic() < self._until

    async def hold(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run `work` while the lease is held; return once `work` has ended, or was cancelled because the lease is lost.

        Return at once if another holds it. A process that was frozen goes on with what it was in the middle of before
        `work` is cancelled: what runs under a lease has to bear that.

        Raises:
            Unavailable: Postgres cannot be asked for it.
        """
        if not await self._take():
            return
        log.info("lease taken", name=self._name)
        task = asyncio.create_task(work(), context=Context())
        try:
            await self._keep_during(task)
        finally:
            await tasks.end(task)
            await self._release()

    async def _keep_during(self, task: "asyncio.Task[None]") -> None:
        while True:
            await asyncio.wait((task,), timeout=min(self.pause, max(0.0, self._until - monotonic())))
            if task.done():
                return task.result()
            try:
                # An answer that comes later comes too late.
                async with asyncio.timeout(self._until - monotonic()):
                    kept = await self._take()
            except (errors.Unavailable, TimeoutError):
                kept = self.held
            if not kept:
                log.warning("lease lost", name=self._name)
                return

    async def _take(self) -> bool:
        """Take the lease, or renew it; whether this holder has it now."""
        asked = monotonic()
        async with postgres.connection(self._pool) as connection:
            taken = await connection.fetchval(_TAKE, self._name, self._holder, self._seconds)
        self._until = asked + self._seconds - self.pause if taken else 0.0
        return taken is not None

    async def _release(self) -> None:
        """Let another have it at once; where that cannot be said, once its time is over."""
        self._until = 0.0
        with suppress(errors.Unavailable, TimeoutError):
            async with asyncio.timeout(_RELEASE_SECONDS), postgres.connection(self._pool) as connection:
                await connection.execute(_RELEASE, self._name, self._holder)
