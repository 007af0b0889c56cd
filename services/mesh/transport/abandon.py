"""Abandoned streams: a call is cancelled when its iteration is left early, or when its object is garbage-collected.

grpc.aio keeps such a call running until its deadline (https://github.com/grpc/grpc/issues/43462). A caller that wants
to stop reading and to continue later keeps the iterator: `responses = aiter(call)`.
"""

import asyncio
from collections.abc import Awaitable, Callable
from enum import Enum
from typing import Any, Generic, TypeVar

import grpc

Res = TypeVar("Res")


class Style(Enum):
    """How one direction of a stream is used; one call cannot use both styles."""

    ITERATION = "iteration"
    CALLS = "calls"


def same_style(before: Style | None, now: Style) -> Style:
    """The style of a direction from now on.

    Raises:
        grpc.aio.UsageError: it was used in the other style before.
    """
    if before is not None and before is not now:
        raise grpc.aio.UsageError("The iterator and read/write APIs may not be mixed on a single RPC.")
    return now


class Responses(Generic[Res]):
    """The responses of a call under iteration.

    `receive` gives the next response, or `grpc.aio.EOF`; `abandon` is called when the iteration was not finished.
    """

    __slots__ = ("__weakref__", "_abandon", "_finished", "_loop", "_receive")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        receive: Callable[[], Awaitable[Any]],
        abandon: Callable[[], object],
    ) -> None:
        self._loop = loop
        self._receive = receive
        self._abandon = abandon
        self._finished = False

    def __aiter__(self) -> "Responses[Res]":
        return self

    async def __anext__(self) -> Res:
        message = await self._receive()
        if message is grpc.aio.EOF:
            self._finished = True
            raise StopAsyncIteration
        response: Res = message
        return response

    def __del__(self) -> None:
        if not self._finished:
            on_loop(self._loop, self._abandon)


def on_loop(loop: asyncio.AbstractEventLoop, action: Callable[[], object]) -> None:
    """Have the loop run `action` soon; may be called from any thread, because the garbage collector runs in any.

    The action never runs at once: the collector may interrupt code that changes the same objects.
    """
    if loop.is_closed():
        return
    try:
        here = asyncio.get_running_loop()
    except RuntimeError:
        here = None
    if here is loop:
        loop.call_soon(action)
    else:
        loop.call_soon_threadsafe(action)
