"""The usage ledger: one record for each generation.

If the store is unavailable, records wait and nothing new begins.
"""

import asyncio
from collections.abc import Awaitable, Callable, Generator
from contextlib import suppress
from functools import partial
from typing import Any

import structlog
from soma.model.v1.cost_service_pb2 import UsageRecord

from services.mesh.call import errors

_log = structlog.get_logger(__name__)

# Seconds between attempts to write a record in the background; Postgres can restart in this time. While the store is
# unavailable or full, the last delay is repeated without end.
_DELAYS = (0.0, 0.1, 0.3, 1.0, 2.0, 4.0, 8.0, 15.0)
# How long a process that stops continues to try.
_LAST_SECONDS = 5.0


class Recording(Awaitable[None]):
    """A record that is being written. Await it to know that it is durable, or that it waits for the store."""

    __slots__ = ("_written",)

    def __init__(self, written: "asyncio.Future[None]") -> None:
        self._written = written

    def __await__(self) -> Generator[Any, None, None]:
        with suppress(errors.Unavailable):
            yield from self._written


class Ledger:
    """Commits records, in a caller's time or in the background.

    Args:
        commit: makes one record durable; it is idempotent.
        delays: seconds before each attempt in the background.
        last_seconds: maximum time of `drain`.
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
        self._waiting: dict[str, UsageRecord] = {}
        self._stored_event = asyncio.Event()

    async def admit(self) -> None:
        """Return if a new generation may begin: as far as is known, its record can be written.

        While records wait because the store is unavailable, this tries the first of them again. A generation costs
        money, so it must not begin if it cannot be recorded. So at most as many records wait as generations were
        running.

        Raises:
            Unavailable: the store is unavailable.
        """
        refused = next(iter(self._waiting.values()), None)
        if refused is not None:
            await self._commit(refused)
            self._stored(refused)

    def record(self, record: UsageRecord) -> Recording:
        """Begin to write a record. It is written also if nobody awaits the result, or if that is cancelled.

        The result is done when the record is durable, or when it waits in memory because the store is unavailable or
        full: the provider was already paid for the generation, so the caller gets it even if the record must wait. If
        the store refuses the record, its error is the exception of the result, and attempts continue in the background.
        """
        written = asyncio.ensure_future(self._commit(record))
        written.add_done_callback(partial(self._written, record))
        return Recording(written)

    def _written(self, record: UsageRecord, written: "asyncio.Future[None]") -> None:
        """Repeat a record that could not be written, or of which that is not known."""
        error = None if written.cancelled() else written.exception()
        if error is None and not written.cancelled():
            return
        if isinstance(error, errors.Unavailable):
            _log.warning("usage_waits", reason=error.reason, generation_id=record.generation_id)
            self._waiting[record.generation_id] = record
        self.record_soon(record)

    def record_soon(self, record: UsageRecord) -> None:
        """Write the record in the background, and repeat it while the store is unavailable."""
        task = asyncio.get_running_loop().create_task(self._retry(record))
        self._pending.add(task)
        task.add_done_callback(self._pending.discard)

    async def drain(self) -> None:
        """Wait for the records in the background.

        A record that cannot be written in time is logged with all its fields.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + self._last_seconds
        while self._pending and loop.time() < until:
            await asyncio.wait(self._pending, timeout=until - loop.time())
        late = set(self._pending)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late)

    async def _retry(self, record: UsageRecord) -> None:
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
                    self._waiting[record.generation_id] = record
                except Exception as error:
                    problem = error
                    if attempts >= len(self._delays):
                        break
                else:
                    self._stored(record)
                    return
        except asyncio.CancelledError as error:
            problem = problem or error
        self._waiting.pop(record.generation_id, None)
        # The log is the last place for the record.
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
        """Wait for `seconds`, or until the store has written another record."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stored_event.wait()

    def _stored(self, record: UsageRecord) -> None:
        if self._waiting.pop(record.generation_id, None) is not None:
            self._stored_event.set()
            self._stored_event = asyncio.Event()
