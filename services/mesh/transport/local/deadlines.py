"""The deadlines of all calls of a channel, with one timer: a timer for each call costs more than the call's task."""

import asyncio
import heapq
import time
from collections.abc import Callable

# Timers of the event loop are rounded to a millisecond and may fire that much early.
RESOLUTION = 0.001


class Deadline:
    """One call's deadline, `when` in seconds of the monotonic clock."""

    __slots__ = ("expire", "when")

    def __init__(self, when: float, expire: Callable[[], None]) -> None:
        self.when = when
        self.expire: Callable[[], None] | None = expire

    def __lt__(self, other: "Deadline") -> bool:
        return self.when < other.when


class Deadlines:
    """A heap of deadlines; cancelled ones stay in it until they are due, or are more than the others."""

    __slots__ = ("_cancelled", "_heap", "_loop", "_timer", "_timer_at")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._heap: list[Deadline] = []
        self._cancelled = 0
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = float("inf")

    def __len__(self) -> int:
        return len(self._heap) - self._cancelled

    def add(self, when: float, expire: Callable[[], None]) -> Deadline:
        """Call `expire` once the monotonic clock reaches `when`, unless cancelled before."""
        deadline = Deadline(when, expire)
        heapq.heappush(self._heap, deadline)
        if when < self._timer_at:
            self._arm(when)
        return deadline

    def cancel(self, deadline: Deadline) -> None:
        """Forget a deadline; one that has passed may be cancelled, too."""
        if deadline.expire is None:
            return
        deadline.expire = None
        self._cancelled += 1
        if self._cancelled > 64 and self._cancelled * 2 > len(self._heap):
            self._heap = [kept for kept in self._heap if kept.expire is not None]
            heapq.heapify(self._heap)
            self._cancelled = 0

    def close(self) -> None:
        """Stop the timer; nothing expires any more."""
        if self._timer is not None:
            self._timer.cancel()
        self._heap.clear()
        self._cancelled = 0

    def _arm(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = when
        self._timer = self._loop.call_later(max(0.0, when - time.monotonic()), self._due)

    def _due(self) -> None:
        self._timer = None
        self._timer_at = float("inf")
        now = time.monotonic() + RESOLUTION
        while self._heap and (self._heap[0].expire is None or self._heap[0].when <= now):
            due = heapq.heappop(self._heap)
            expire, due.expire = due.expire, None
            if expire is None:
                self._cancelled -= 1
            else:
                expire()
        if self._heap:
            self._arm(self._heap[0].when)
