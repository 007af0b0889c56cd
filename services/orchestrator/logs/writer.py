"""Writes log entries in the background: a turn never waits for its log."""

import asyncio
from collections import deque
from collections.abc import Mapping
from itertools import groupby
from operator import itemgetter

import structlog
from prometheus_client import Counter
from soma.orchestrator.v1 import log_service_pb2 as pb

from services.mesh.call import errors
from services.mesh.process.jobs import Job
from services.orchestrator.logs.entry import Task, new_entry
from services.orchestrator.logs.store import RedisLogStore

log = structlog.get_logger("orchestrator")

DROPPED = Counter("soma_orchestrator_log_entries_dropped_total", "Log entries given up while they could not be kept")

MOST_WAITING = 10_000
BATCH = 256
# The entries of this number of seconds share a write.
GATHER_SECONDS = 0.02
# While entries come without end, a write begins after this many seconds.
APART_SECONDS = 0.1


class LogWriter:
    """Queues entries and writes them a moment later; beyond `MOST_WAITING` the oldest are dropped."""

    def __init__(self, store: RedisLogStore) -> None:
        self._store = store
        self._waiting: deque[tuple[str, pb.LogEntry]] = deque()
        self._wake = asyncio.Event()

    def record(
        self,
        tenant_id: str,
        task: Task,
        message: str,
        attributes: Mapping[str, str],
        *,
        level: str = "info",
        task_status: str = "",
    ) -> None:
        """Add an entry to a tenant's log."""
        self._waiting.append((tenant_id, new_entry(task, level, message, attributes, task_status)))
        self._drop_oldest()
        self._wake.set()

    @property
    def job(self) -> Job:
        """Writes the queued entries; while Redis is away they stay queued."""
        return Job("log_writer", self.flush, wake=self._wake, gather=GATHER_SECONDS, apart=APART_SECONDS)

    async def flush(self) -> None:
        """Write the queued entries, oldest first; an entry may be written twice if Redis fails during a write.

        Entries that come during a write are left to the next flush. They would otherwise be written at once, a few at a
        time.

        Raises:
            Unavailable: Redis cannot be reached; entries that were not written stay queued.
        """
        left = len(self._waiting)
        while left and self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(BATCH, left, len(self._waiting)))]
            left -= len(batch)
            try:
                for tenant_id, pairs in groupby(sorted(batch, key=itemgetter(0)), key=itemgetter(0)):
                    await self._store.append(tenant_id, [entry for _, entry in pairs])
            except BaseException:
                self._waiting.extendleft(reversed(batch))
                self._drop_oldest()
                raise

    async def close(self) -> None:
        """Write the queued entries, once nobody records any more; those that cannot be written are dropped."""
        try:
            await self.flush()
        except errors.Unavailable as error:
            DROPPED.inc(len(self._waiting))
            log.warning("log entries given up", count=len(self._waiting), error=error.message)

    def _drop_oldest(self) -> None:
        while len(self._waiting) > MOST_WAITING:
            self._waiting.popleft()
            DROPPED.inc()
