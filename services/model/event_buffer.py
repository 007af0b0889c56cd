"""Buffers the events of a generation; pieces that arrive within a short time are merged."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import aclosing
from time import monotonic

from soma.model.v1.message_pb2 import Delta

from services.mesh.call import errors
from services.mesh.wakeup import Wakeup
from services.messages.answer import is_text, joined, joined_text
from services.model.provider import ProviderEvent

# Size of the buffer for a slow caller, in characters; when it is full, reading from the provider pauses.
_FULL = 64 * 1024


class EventBuffer:
    """Reads a provider's events ahead, and merges pieces that arrive within `window` seconds.

    The first event does not wait, an event that comes `window` after the last one does not wait, and the end does not
    wait. Merging keeps the order and loses nothing. One task reads ahead; `close` ends it and the provider's work.
    """

    def __init__(self, events: AsyncGenerator[ProviderEvent, None], window: float) -> None:
        self._events = events
        self._window = window
        self._queue: deque[ProviderEvent] = deque()
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
        if not self._over and isinstance(self._queue[-1], Delta):
            early = self._handed_at + self._window - monotonic()
            if early > 0:
                self._lingering = True
                await self._wakeup.wait(early)
                self._lingering = False
        self._handed_at = monotonic()
        first = self._queue.popleft()
        if not isinstance(first, Delta):
            return first
        merged = self._merged(first)
        self._room.set()
        return merged

    def _merged(self, first: Delta) -> Delta:
        """The first piece, with those after it that may be sent with it."""
        pieces, texts = [first], is_text(first)
        while self._queue and isinstance(event := self._queue[0], Delta):
            if not is_text(event):
                if not _may_follow(pieces[-1], event):
                    break
                texts = False
            elif not texts and not _may_follow(pieces[-1], event):
                break
            pieces.append(event)
            self._queue.popleft()
        # Most often nothing is left, and nothing has to be measured again.
        self._size = self._size - sum(map(_weight, pieces)) if self._queue else 0
        return joined_text(pieces) if texts else joined(pieces)

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
        self._queue.append(event)
        if isinstance(event, Delta):
            self._size += _weight(event)
            if self._lingering:
                return
        self._wakeup.wake()


def _weight(piece: Delta) -> int:
    """The size of a piece for the limit of the buffer."""
    return len(piece.text) or piece.ByteSize()


def _may_follow(last: Delta, piece: Delta) -> bool:
    """Whether a piece may be sent with the one before it: what they hold is in the order of the fields of one piece."""
    return piece.refusal == last.refusal and _kinds(last)[1] <= _kinds(piece)[0]


def _kinds(piece: Delta) -> tuple[int, int]:
    """The first and the last kind that a piece holds; the kinds are in the order of its fields."""
    held = [kind for kind, field in _KINDS if getattr(piece, field)]
    return (held[0], held[-1]) if held else (_TEXT, _TEXT)


_THOUGHTS, _TEXT, _CALLS = range(3)
_KINDS = ((_THOUGHTS, "reasoning"), (_TEXT, "text"), (_TEXT, "citations"), (_CALLS, "tool_calls"))
