"""Ends tasks, and says whether one is being ended."""

import asyncio
from typing import Any


async def end(*tasks: "asyncio.Task[Any]") -> None:
    """Cancel tasks and return once they have ended; a caller that is cancelled meanwhile is cancelled only then.

    Otherwise, after a second cancellation, the tasks would still use what their owner is about to close.

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


def being_cancelled() -> bool:
    """Whether somebody has cancelled the current task."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
