"""Buffers the events of a generation; pieces that arrive within a short time are merged."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import aclosing
from time import monotonic

from soma.model.v1.message_pb2 import Delta
from soma.model.v1.model_service_pb2 import GenerationFinished

from services.mesh.call import errors
from services.messages.answer import joined
from services.model.provider import ProviderEvent
from services.model.wakeup import Wakeup

# Size of the buffer for a slow caller, in bytes; when it is full, reading from the provider pauses.
_FULL = 64 * 1024


class EventBuffer:
    """Reads a provider's events ahead, and merges pieces that arrive within `window` seconds.

    The first event does not wait, an event that comes `window` after the last one does not wait, and the end does not
    wait. Merging keeps the order and loses nothing. One task reads ahead; `close` ends it and the provider's work.
    """

    def __init__(self, events: AsyncGenerator[ProviderEvent, None], window: float) -> None:
        self._events = events
        self._window = window
        self._queue: deque[_Run | GenerationFinished] = deque()
        self._size = 0
        self._over = False
        self._error: BaseException | None = None
        self._handed_at = -window
        self._lingering = False
        self._wakeup = Wakeup(asyncio.get_running_loop())
        self._room = asyncio.Event()
        self._room.set()
        self._task = asyncio.create_task(self._read())

    async def next(self, patience: float) -> ProviderEvent | None:
        """The next event; None if none comes within `patience` seconds.

        Raises:
            Exception: the provider's exception, after all events before it.
            Internal: the provider ended without its final event.
        """
        if not self._queue and not self._over and not await self._wakeup.wait(patience):
            return None
        if not self._queue:
            raise self._error or errors.Internal("a provider ended without its last event")
        if len(self._queue) == 1 and not self._over and isinstance(self._queue[0], _Run):
            early = self._handed_at + self._window - monotonic()
            if early > 0:
                self._lingering = True
                await self._wakeup.wait(early)
                self._lingering = False
        self._handed_at = monotonic()
        first = self._queue.popleft()
        if isinstance(first, _Run):
            self._size -= first.size
            self._room.set()
            return joined(first.pieces)
        return first

    async def close(self) -> None:
        """Stop reading, and wait until the provider's work has ended."""
        # After the last event the task has usually ended by itself, and to wait costs more than to look.
        if not self._task.done():
            self._task.cancel()
            await asyncio.wait((self._task,))
        self._wakeup.close()

    async def _read(self) -> None:
        try:
            async with aclosing(self._events) as events:
                async for event in events:
                    self._put(event)
                    if self._size > _FULL:
                        self._room.clear()
                        await self._room.wait()
        except Exception as error:
            self._error = error
        finally:
            self._over = True
            self._wakeup.wake()

    def _put(self, event: ProviderEvent) -> None:
        if isinstance(event, GenerationFinished):
            self._queue.append(event)
            self._wakeup.wake()
            return
        size = event.ByteSize()
        self._size += size
        last = self._queue[-1] if self._queue else None
        if not isinstance(last, _Run) or not last.take(event, size):
            self._queue.append(_Run(event, size))
        if not self._lingering:
            self._wakeup.wake()


# The kinds of what a piece holds, in the order of its fields.
_THOUGHTS, _TEXT, _CALLS = range(3)


class _Run:
    """Pieces that may be sent as one, and their size in bytes: what they hold is in the order of a piece's fields."""

    __slots__ = ("_last", "_refusal", "pieces", "size")

    def __init__(self, first: Delta, size: int) -> None:
        self.pieces = [first]
        self.size = size
        self._refusal = first.refusal
        self._last = _kinds(first)[1]

    def take(self, piece: Delta, size: int) -> bool:
        """Add a piece, if it may follow in the same message."""
        earliest, latest = _kinds(piece)
        if earliest < self._last or piece.refusal != self._refusal:
            return False
        self.pieces.append(piece)
        self.size += size
        self._last = latest
        return True


def _kinds(piece: Delta) -> tuple[int, int]:
    """The first and the last kind that a piece holds."""
    if not piece.reasoning and not piece.tool_calls:
        return _TEXT, _TEXT
    earliest = _THOUGHTS if piece.reasoning else _TEXT if piece.text else _CALLS
    latest = _CALLS if piece.tool_calls else _TEXT if piece.text else _THOUGHTS
    return earliest, latest
