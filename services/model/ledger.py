"""The usage ledger: one record for each generation, kept until it is durable; while none can be, nothing begins."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import structlog
from soma.model.v1.cost_service_pb2 import UsageRecord

from services.mesh.call import errors

_log = structlog.get_logger(__name__)

# Seconds between attempts at a record nobody waits for; Postgres restarts within them. While the store is away or
# full the last is repeated without end.
_DELAYS = (0.0, 0.1, 0.3, 1.0, 2.0, 4.0, 8.0, 15.0)
# How long a process that stops goes on trying.
_LAST_SECONDS = 5.0


class Ledger:
    """Commits records, with a caller waiting or in the background.

    Args:
        commit: makes one record durable; writing one twice is writing it once.
        delays: seconds before each attempt in the background.
        last_seconds: how long `drain` waits.
    """

    def __init__(
        self,
        commit: Callable[[UsageRecord], Awaitable[None]],
        delays: tuple[float, ...] = _DELAYS,
        last_seconds: float = _LAST_SECONDS,
    ) -> None:
        self._commit = commit
        self._delays = delays
        self._last_seconds = last_seconds
        self._pending: set[asyncio.Task[None]] = set()
        self._refused: dict[str, UsageRecord] = {}
        self._taken = asyncio.Event()

    async def admit(self) -> None:
        """Return when what begins now can be recorded once it has ended, as far as is known.

        While records wait because the store takes none, the first of them is tried again: what a provider is paid
        for must not begin, and no more records wait than generations were under way.

        Raises:
            Unavailable: the store takes none.
        """
        refused = next(iter(self._refused.values()), None)
        if refused is not None:
            await self._commit(refused)
            self._written(refused)

    async def record(self, record: UsageRecord) -> None:
        """Return when the record is durable; while the store is away or full, once it is kept to be written later.

        The generation has been paid for: that it cannot be noted now is no reason to withhold it.

        Raises:
            Exception: the store cannot take this record; the attempt goes on in the background.
        """
        try:
            await self._commit(record)
        except errors.Unavailable as error:
            _log.warning("usage_waits", reason=error.reason, generation_id=record.generation_id)
            self._refused[record.generation_id] = record
            self.record_soon(record)
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
        """Wait for what is being written in the background; what cannot be written now is logged whole."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self._last_seconds
        while self._pending and loop.time() < until:
            await asyncio.wait(self._pending, timeout=until - loop.time())
        late = set(self._pending)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late)

    async def _insist(self, record: UsageRecord) -> None:
        problem: BaseException | None = None
        attempts = 0
        try:
            while True:
                await self._pause(self._delays[min(attempts, len(self._delays) - 1)])
                attempts += 1
                try:
                    await self._commit(record)
                except errors.Unavailable as error:
                    problem = error
                    self._refused[record.generation_id] = record
                except Exception as error:
                    problem = error
                    if attempts >= len(self._delays):
                        break
                else:
                    self._written(record)
                    return
        except asyncio.CancelledError as error:
            problem = problem or error
        self._refused.pop(record.generation_id, None)
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

    async def _pause(self, seconds: float) -> None:
        """Until it is time, or the store has taken another record."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._taken.wait()

    def _written(self, record: UsageRecord) -> None:
        if self._refused.pop(record.generation_id, None) is not None:
            self._taken.set()
            self._taken = asyncio.Event()
