"""Work that runs beside a service's calls for as long as the service does."""

import asyncio
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from contextvars import Context
from typing import Any

import structlog

log = structlog.get_logger("mesh")


def in_background(stack: AsyncExitStack, work: Coroutine[Any, Any, None]) -> None:
    """Run `work` until `stack` closes, which cancels it and waits until it has ended.

    It runs in a context of its own: it is nobody's call. Work that ends with an exception is logged when it does.
    """
    task = asyncio.create_task(work, context=Context())
    task.add_done_callback(_ended)
    stack.push_async_callback(_end, task)


async def _end(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.wait((task,))


def _ended(task: "asyncio.Task[None]") -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("background work ended", work=task.get_coro().__qualname__, exc_info=error)  # type: ignore[union-attr]
