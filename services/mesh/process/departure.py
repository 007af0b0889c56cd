"""When a process is to go, and how long its calls may take: told by signals."""

import asyncio
import signal
from contextlib import suppress

# Another process has taken over: go when every call has ended, however long that takes within `leave_seconds`.
REPLACED = signal.SIGUSR1
STOP = (signal.SIGTERM, signal.SIGINT)


class Departure:
    """`wait` returns once a signal came. SIGTERM and SIGINT also cut short the patience of one that was replaced."""

    def __init__(self, grace_seconds: float, leave_seconds: float) -> None:
        self._grace_seconds = grace_seconds
        self._leave_seconds = leave_seconds
        self._going = asyncio.Event()
        self._stopped = asyncio.Event()

    def listen(self) -> None:
        """Take the process's signals."""
        loop = asyncio.get_running_loop()
        with suppress(NotImplementedError):
            loop.add_signal_handler(REPLACED, self._going.set)
            for number in STOP:
                loop.add_signal_handler(number, self.stop)

    def stop(self) -> None:
        """Go, with little patience."""
        self._stopped.set()
        self._going.set()

    async def wait(self) -> None:
        """Return when the process is to go."""
        await self._going.wait()

    @property
    def patience(self) -> float:
        """How many seconds calls in progress have from now on."""
        return self._grace_seconds if self._stopped.is_set() else self._leave_seconds

    async def patience_is_over(self) -> None:
        """Return when calls in progress have had their time, which SIGTERM and SIGINT shorten."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self.patience):
                await self._stopped.wait()
        if self._stopped.is_set():
            await asyncio.sleep(self._grace_seconds)
