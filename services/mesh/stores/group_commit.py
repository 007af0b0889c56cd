"""Durable writes of concurrent callers, which share transactions.

A commit waits for a disk. Meanwhile further items queue up, and the next transaction takes them all. A single caller
waits for one commit; a hundred concurrent callers wait for two.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextvars import Context
from typing import TYPE_CHECKING, Generic, Self, TypeAlias, TypeVar

from prometheus_client import Histogram
from soma.errors.v1 import reasons

from services.mesh.call import errors
from services.mesh.stores import postgres
from services.mesh.wakeup import Wakeup

if TYPE_CHECKING:
    from services.mesh.stores.postgres import Connection, SystemPool

T = TypeVar("T")
_Entry: TypeAlias = tuple[T, asyncio.Future[None]]

_BATCH = Histogram(
    "soma_postgres_group_commit_items", "Items that shared a transaction.", buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256)
)
# After this time without an item, the connection goes back to the pool.
_KEPT_SECONDS = 1.0
# Without a connection, the writer looks for items this often, although each wakes it.
_IDLE_SECONDS = 3600.0


class GroupCommit(Generic[T]):
    """Writes items with `write`, many in a transaction, until it is closed. The end of an `async with` closes it.

    Args:
        pool: of the role for statements about many tenants.
        write: writes items with one statement or one `executemany`, which is a transaction of its own and saves two
            round trips. It must be able to run again after it failed: if a batch has an item that cannot be written,
            its items are written again one by one.
        max_batch: the most items in a transaction.
    """

    def __init__(
        self, pool: "SystemPool", write: "Callable[[Connection, Sequence[T]], Awaitable[None]]", max_batch: int = 256
    ) -> None:
        self._kept = pool.kept()
        self._write = write
        self._max_batch = max_batch
        self._queue: deque[_Entry[T]] = deque()
        self._wakeup = Wakeup(asyncio.get_running_loop())
        self._closing = False
        self._writer: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *raised: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Take no more items, and return once those that were taken are written."""
        self._closing = True
        self._wakeup.wake()
        if self._writer is not None:
            await self._writer

    def commit(self, item: T) -> asyncio.Future[None]:
        """Begin to write `item`; the result is done once it is durable. If that is cancelled, the item is written too.

        Its exception is one of these:

        - Unavailable: Postgres is away, or this process is stopping. If the connection was lost during a commit, the
          item may be durable all the same.
        - what `write` raised for this item.
        """
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self._closing:
            done.set_exception(_stopping())
            return done
        if self._writer is None:
            # The task has an empty context, because it lives longer than the call that starts it.
            self._writer = asyncio.create_task(self._run(), name="group-commit", context=Context())
        self._queue.append((item, done))
        self._wakeup.wake()
        return done

    async def _run(self) -> None:
        try:
            while self._queue or not self._closing:
                if not self._queue:
                    await self._idle()
                    continue
                count = min(self._max_batch, len(self._queue))
                await self._settle([self._queue.popleft() for _ in range(count)])
        finally:
            _resolve(self._queue, _stopping())  # empty unless this task was cancelled
            self._wakeup.close()
            await self._kept.give_back()

    async def _idle(self) -> None:
        """Wait for an item, or for the end; after a while the connection goes back to the pool."""
        if await self._wakeup.wait(_KEPT_SECONDS):
            return
        await self._kept.give_back()
        while not self._queue and not self._closing:
            await self._wakeup.wait(_IDLE_SECONDS)

    async def _settle(self, batch: Sequence[_Entry[T]]) -> None:
        """Write a batch and wake its callers; if an item cannot be written, only its caller gets the error."""
        _BATCH.observe(len(batch))
        try:
            async with self._kept.use() as connection:
                await self._write(connection, [item for item, _ in batch])
        except asyncio.CancelledError:
            _resolve(batch, _stopping())
            raise
        except Exception as error:
            if len(batch) == 1 or isinstance(error, errors.Unavailable):
                _resolve(batch, error)
            else:
                for entry in batch:
                    await self._settle([entry])
        else:
            _resolve(batch, None)


def _resolve(batch: Iterable[_Entry[T]], error: Exception | None) -> None:
    for _, done in batch:
        if done.done():  # its caller was cancelled
            continue
        if error is None:
            done.set_result(None)
        else:
            done.set_exception(error)


def _stopping() -> errors.Unavailable:
    return errors.Unavailable("this process is stopping", reason=reasons.STOPPING, retry_after=postgres.RETRY_SECONDS)
