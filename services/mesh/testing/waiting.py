"""Waits for what a test cannot be told of: asks again and again, up to a deadline."""

import asyncio
from collections.abc import Awaitable, Callable

SECONDS = 15.0
INTERVAL = 0.01


async def until(condition: Callable[[], Awaitable[object]], seconds: float = SECONDS) -> None:
    """Return when `condition` answers with something true; an exception of its own passes.

    Raises:
        TimeoutError: it did not in time.
    """
    async with asyncio.timeout(seconds):
        while True:
            if await condition():
                return
            await asyncio.sleep(INTERVAL)
