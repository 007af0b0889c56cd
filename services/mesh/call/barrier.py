"""What must be durable before the answer of a call leaves the process.

A service that writes a record at the end of its work need not wait for the disk: its caller in the same process may go
on with the answer meanwhile. Only who sends the answer out of the process waits, directly before it does.
"""

import asyncio
from collections.abc import Awaitable

from services.mesh.call.call import current_call


class Barrier:
    """Keeps the answer to one client back until everything that was added is done.

    All calls inside the process that are made for the answer share it. It is true while something has to be awaited.
    """

    __slots__ = ("_open", "_waiting")

    def __init__(self) -> None:
        self._waiting: list[Awaitable[None]] = []
        self._open = False

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def add(self, done: Awaitable[None]) -> bool:
        """Have the answer wait for `done`; False if the answer has been sent."""
        if self._open:
            return False
        self._waiting.append(done)
        return True

    async def passed(self) -> None:
        """Return when everything is done.

        Raises:
            Exception: the first error of what was added.
        """
        while self._waiting:
            await self._waiting.pop(0)

    def open(self) -> None:
        """The answer has been sent: work that goes on waits by itself."""
        self._open = True
        self._waiting.clear()


async def before_answer(done: Awaitable[None]) -> None:
    """Have the answer of the current call wait for `done`; without a client outside of the process, wait here.

    Raises:
        Exception: the error of `done`, if this waits.
    """
    call = current_call()
    if call is None or call.barrier is None or not call.barrier.add(done):
        await done
    else:
        # What a turn of the event loop sends is sent at its end, so the store gets the record before the work goes on.
        await asyncio.sleep(0)
