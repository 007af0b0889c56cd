"""Waits until a condition is true, and fails if it does not become true."""

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic

POLL_SECONDS = 0.02


async def eventually_true(true: Callable[[], Awaitable[bool]], what: str, seconds: float) -> None:
    """Return as soon as `true()` returns true.

    Raises:
        AssertionError: it did not within `seconds`.
    """
    deadline = monotonic() + seconds
    while not await true():
        assert monotonic() < deadline, f"not within {seconds:g} s: {what}"
        await asyncio.sleep(POLL_SECONDS)


async def eventually(true: Callable[[], bool], what: str, seconds: float = 15.0) -> None:
    """The same for a condition that is not awaited."""

    async def awaited() -> bool:
        return true()

    await eventually_true(awaited, what, seconds)
