"""When a process has to stop, and how long its calls may take then; signals say so."""

import asyncio
import signal
from contextlib import suppress

# Another process has replaced this one: stop when every call has ended, after `leave_seconds` at most.
REPLACED = signal.SIGUSR1
STOP = (signal.SIGTERM, signal.SIGINT)


class Shutdown:
    """`wait` returns once a signal has come. SIGTERM and SIGINT also shorten the time of a process that was replaced.

    Args:
        grace_seconds: how long calls may take after SIGTERM or SIGINT.
        leave_seconds: how long calls may take in a process that was replaced.
    """

    def __init__(self, grace_seconds: float, leave_seconds: float) -> None:
        self._grace_seconds = grace_seconds
        self._leave_seconds = leave_seconds
        self._going = asyncio.Event()
        self._stopped = asyncio.Event()

    def listen(self) -> None:
        """Handle the signals of the process from now on."""
        loop = asyncio.get_running_loop()
        with suppress(NotImplementedError):
            loop.add_signal_handler(REPLACED, self._going.set)
            for number in STOP:
                loop.add_signal_handler(number, self.stop)

    def stop(self) -> None:
        """Stop, and give calls `grace_seconds`."""
        self._stopped.set()
        self._going.set()

    async def wait(self) -> None:
        """Return when the process has to stop."""
        await self._going.wait()

    @property
    def grace(self) -> float:
        """The seconds that calls in progress have from now on."""
        return self._grace_seconds if self._stopped.is_set() else self._leave_seconds

    async def grace_over(self) -> None:
        """Return when the time of calls in progress is over; SIGTERM and SIGINT shorten it."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self.grace):
                await self._stopped.wait()
        if self._stopped.is_set():
            await asyncio.sleep(self._grace_seconds)
