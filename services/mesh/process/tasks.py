"""Ends tasks."""

import asyncio
from typing import Any


async def end(*tasks: "asyncio.Task[Any]") -> None:
    """Cancel tasks and return once they have ended; who is cancelled meanwhile hears of it only then.

    Otherwise a second cancellation would leave them to run on with what their owner is about to close.

    Raises:
        CancelledError: the caller was cancelled meanwhile.
    """
    for task in tasks:
        task.cancel()
    ended = asyncio.ensure_future(asyncio.wait(tasks))
    cancelled: asyncio.CancelledError | None = None
    while not ended.done():
        try:
            await asyncio.shield(ended)
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled
