"""Lets one process of many do something: a row in Postgres says which one, and until when.

It is a row and no advisory lock, because behind a pooler a session's lock stays with the pooler's connection. The clock
of the database decides who may take the row, and a process's monotonic clock decides how long it may work.
"""

import asyncio
import uuid
from collections.abc import Callable, Coroutine
from contextlib import suppress
from contextvars import Context
from time import monotonic
from typing import TYPE_CHECKING, Any

import structlog

from services.mesh.call import errors
from services.mesh.process import tasks

if TYPE_CHECKING:
    from services.mesh.stores.postgres import SystemPool

log = structlog.get_logger("mesh")

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
    """The claim of one process to a name; work ends a quarter of `seconds` before another process may take over."""

    def __init__(self, pool: "SystemPool", name: str, seconds: float) -> None:
        self._pool = pool
        self._name = name
        self._seconds = seconds
        self._holder = str(uuid.uuid4())
        self._until = 0.0

    @property
    def pause(self) -> float:
        """The seconds between two looks at the row, by its holder and by processes that wait for it."""
        return self._seconds / 4

    @property
    def held(self) -> bool:
        """Whether work may go on now."""
        return monotonic() < self._until

    async def hold(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run `work` while the lease is held; return once `work` has ended, or was cancelled because the lease is lost.

        Return at once if another process holds it. A process that was frozen continues its current step before `work`
        is cancelled: work under a lease has to allow for that.

        Raises:
            Unavailable: Postgres is away.
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
                # After that time the lease is lost, whatever Postgres answers.
                async with asyncio.timeout(self._until - monotonic()):
                    kept = await self._take()
            except (errors.Unavailable, TimeoutError):
                kept = self.held
            if not kept:
                log.warning("lease lost", name=self._name)
                return

    async def _take(self) -> bool:
        """Take the lease, or renew it; returns whether this process holds it now."""
        asked = monotonic()
        async with self._pool.connection() as connection:
            taken = await connection.fetchval(_TAKE, self._name, self._holder, self._seconds)
        self._until = asked + self._seconds - self.pause if taken else 0.0
        return taken is not None

    async def _release(self) -> None:
        """Let another process take the lease at once; if Postgres is away, it can once the lease has expired."""
        self._until = 0.0
        with suppress(errors.Unavailable, TimeoutError):
            async with asyncio.timeout(_RELEASE_SECONDS), self._pool.connection() as connection:
                await connection.execute(_RELEASE, self._name, self._holder)
