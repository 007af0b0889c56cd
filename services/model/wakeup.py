"""Lets one task wait, with a timeout, until another task wakes it."""

import asyncio


class Wakeup:
    """A signal for one waiting task. It costs less than an `asyncio.Event` with a timeout on paths that wait often."""

    __slots__ = ("_loop", "_waiter")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiter: asyncio.Future[bool] | None = None

    async def wait(self, seconds: float) -> bool:
        """Wait until `wake` is called; return False if it is not called within `seconds`."""
        waiter: asyncio.Future[bool] = self._loop.create_future()
        self._waiter = waiter
        timer = self._loop.call_later(seconds, self._settle, False)
        try:
            return await waiter
        finally:
            timer.cancel()
            self._waiter = None

    def wake(self) -> None:
        """Wake the waiting task, if there is one."""
        self._settle(True)

    def _settle(self, woken: bool) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(woken)
