"""Work that runs beside a service's calls for as long as the service does."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from contextvars import Context
from functools import partial
from time import monotonic
from typing import Any

import structlog

from services.mesh.backoff import Backoff

log = structlog.get_logger("mesh")

Work = Callable[[], Coroutine[Any, Any, None]]


def in_background(stack: AsyncExitStack, work: Work) -> "asyncio.Task[None]":
    """Run `work` until it returns or `stack` closes, which cancels it and waits until it has ended.

    It runs in a context of its own: it is nobody's call. No exception ends it: work that raises one is begun again
    after the wait of a `Backoff`. The same exception again and again is logged once.
    """
    task = asyncio.create_task(_insist(work), context=Context())
    stack.push_async_callback(_end, task)
    return task


async def _end(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.wait((task,))


async def _insist(work: Work) -> None:
    backoff, told = Backoff(), ""
    while True:
        began = monotonic()
        try:
            return await work()
        except Exception as error:
            if _cancelled():
                # What it met while it was being ended.
                return
            backoff = backoff.failed(monotonic() - began)
            why = f"{type(error).__name__}: {error}"
            if backoff.failures == 1 or why != told:
                told = why
                log.error("background work failed, begun again", work=_name(work), exc_info=error)
        await asyncio.sleep(backoff.delay)


def _cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _name(work: Work) -> str:
    named = work.func if isinstance(work, partial) else work
    return getattr(named, "__qualname__", repr(named))
