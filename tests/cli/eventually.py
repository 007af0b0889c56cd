"""Waits for something to become true, and fails when it does not."""

import asyncio
from collections.abc import Callable
from time import monotonic


async def eventually(true: Callable[[], bool], what: str, seconds: float = 15.0) -> None:
    """Return as soon as `true()` is.

    Raises:
        AssertionError: it was not for `seconds`.
    """
    deadline = monotonic() + seconds
    while not true():
        assert monotonic() < deadline, f"not within {seconds:g} s: {what}"
        await asyncio.sleep(0.02)
