"""Lets one task wait, with patience, until another has something for it."""

import asyncio


class Wakeup:
    """At most one task waits at a time. Cheaper than an event under a timeout, on paths that wait for every piece."""

    __slots__ = ("_loop", "_waiter")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiter: asyncio.Future[bool] | None = None

    async def wait(self, seconds: float) -> bool:
        """Whether `wake` was called within `seconds` from now."""
        waiter: asyncio.Future[bool] = self._loop.create_future()
        self._waiter = waiter
        timer = self._loop.call_later(seconds, self._settle, False)
        try:
            return await waiter
        finally:
            timer.cancel()
            self._waiter = None

    def wake(self) -> None:
        """Wake who waits now, if anybody does."""
        self._settle(True)

    def _settle(self, woken: bool) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(woken)
