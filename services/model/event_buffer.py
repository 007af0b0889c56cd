"""Buffers the events of a generation; text that arrives within a short time is merged."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import aclosing
from time import monotonic

from soma.model.v1.message_pb2 import ToolCallDelta
from soma.model.v1.model_service_pb2 import GenerationFinished, TextDelta

from services.mesh.call import errors
from services.model.provider import ProviderEvent
from services.model.wakeup import Wakeup

# Size of the buffer for a slow caller, in characters; when it is full, reading from the provider pauses.
_FULL = 64 * 1024


class EventBuffer:
    """Reads a provider's events ahead, and merges text that arrives within `window` seconds.

    The first event does not wait, an event that comes `window` after the last one does not wait, and the end does not
    wait. Merging keeps the order and loses nothing. One task reads ahead; `close` ends it and the provider's work.
    """

    def __init__(self, events: AsyncGenerator[ProviderEvent, None], window: float) -> None:
        self._events = events
        self._window = window
        self._queue: deque[list[TextDelta] | ToolCallDelta | GenerationFinished] = deque()
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
        if len(self._queue) == 1 and not self._over and isinstance(self._queue[0], list):
            early = self._handed_at + self._window - monotonic()
            if early > 0:
                self._lingering = True
                await self._wakeup.wait(early)
                self._lingering = False
        self._handed_at = monotonic()
        first = self._queue.popleft()
        if isinstance(first, list):
            text = first[0] if len(first) == 1 else _joined(first)
            self._size -= len(text.text)
            event: ProviderEvent = text
        else:
            self._size -= first.ByteSize()
            event = first
        self._room.set()
        return event

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
        if not isinstance(event, TextDelta):
            self._size += event.ByteSize()
            self._queue.append(event)
            self._wakeup.wake()
            return
        self._size += len(event.text)
        last = self._queue[-1] if self._queue else None
        if isinstance(last, list) and last[0].refusal == event.refusal:
            last.append(event)
        else:
            self._queue.append([event])
        if not self._lingering:
            self._wakeup.wake()


def _joined(pieces: list[TextDelta]) -> TextDelta:
    whole = TextDelta(text="".join(piece.text for piece in pieces), refusal=pieces[0].refusal)
    for piece in pieces:
        if piece.logprobs:
            whole.logprobs.extend(piece.logprobs)
    return whole
