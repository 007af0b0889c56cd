"""Lets one task wait, with a timeout, until another task wakes it."""

import asyncio
from contextvars import Context


class Wakeup:
    """A signal for one waiting task. It costs less than an `asyncio.Event` with a timeout on paths that wait often.

    A timer stays when its wait has ended, because most waits end long before it: to make and cancel one for each wait
    costs more than the rest. If it is due too early for the present wait, it is set again for the rest of that wait.
    Close the signal when nobody waits any more; a timer that is left keeps the signal alive until it is due.
    """

    __slots__ = ("_due_at", "_loop", "_timer", "_until", "_waiter")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiter: asyncio.Future[bool] | None = None
        self._until = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._due_at = 0.0

    async def wait(self, seconds: float) -> bool:
        """Wait until `wake` is called; return False if it is not called within `seconds`."""
        waiter: asyncio.Future[bool] = self._loop.create_future()
        self._waiter = waiter
        self._until = self._loop.time() + seconds
        if self._timer is None or self._due_at > self._until:
            self._set_timer(self._until)
        try:
            return await waiter
        finally:
            self._waiter = None

    def wake(self) -> None:
        """Wake the waiting task, if there is one."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(True)

    def close(self) -> None:
        """Stop the timer, unless a task waits; a later wait makes another one."""
        waiting = self._waiter is not None and not self._waiter.done()
        if self._timer is not None and not waiting:
            self._timer.cancel()
            self._timer = None

    def _set_timer(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._due_at = when
        # The context is empty, because the timer may outlive the call in whose time it is made.
        self._timer = self._loop.call_at(when, self._due, context=Context())

    def _due(self) -> None:
        self._timer = None
        if self._waiter is None or self._waiter.done():
            return
        if self._loop.time() >= self._until:
            self._waiter.set_result(False)
        else:
            self._set_timer(self._until)
