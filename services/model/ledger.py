"""The usage ledger: one record for each generation, durable before anybody is told that it finished."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog
from soma.model.v1.cost_service_pb2 import UsageRecord

_log = structlog.get_logger(__name__)

# Seconds between attempts at a record nobody waits for; Postgres restarts within them.
_DELAYS = (0.0, 0.1, 0.3, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0)


class Ledger:
    """Commits records, with a caller waiting or in the background.

    Args:
        commit: makes one record durable; writing one twice is writing it once.
        delays: seconds before each attempt in the background.
    """

    def __init__(self, commit: Callable[[UsageRecord], Awaitable[None]], delays: tuple[float, ...] = _DELAYS) -> None:
        self._commit = commit
        self._delays = delays
        self._pending: set[asyncio.Task[None]] = set()

    async def record(self, record: UsageRecord) -> None:
        """Return when the record is durable.

        Raises:
            MeshError: it could not be made so now; the attempt goes on in the background.
        """
        try:
            await self._commit(record)
        except BaseException:
            # Also when the caller leaves meanwhile: the generation did happen.
            self.record_soon(record)
            raise

    def record_soon(self, record: UsageRecord) -> None:
        """Write the record without waiting for it, again and again while the store is away."""
        task = asyncio.get_running_loop().create_task(self._insist(record))
        self._pending.add(task)
        task.add_done_callback(self._pending.discard)

    async def drain(self) -> None:
        """Wait for what is being written in the background."""
        while self._pending:
            await asyncio.wait(self._pending)

    async def _insist(self, record: UsageRecord) -> None:
        problem: Exception | None = None
        for delay in self._delays:
            await asyncio.sleep(delay)
            try:
                await self._commit(record)
            except Exception as error:
                problem = error
            else:
                return
        # The last place where the record can still be found.
        _log.error(
            "usage_not_stored",
            error=str(problem),
            generation_id=record.generation_id,
            tenant_id=record.tenant_id,
            model=record.model,
            prompt_tokens=record.usage.prompt_tokens,
            completion_tokens=record.usage.completion_tokens,
        )
