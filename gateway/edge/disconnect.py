"""Cancels a block of work as soon as its client disconnects."""

import asyncio
from types import TracebackType

from starlette.types import Receive

from services.mesh.call.errors import Cancelled


class CancelOnDisconnect:
    """Async context manager that cancels its block at the client's `http.disconnect`, and raises Cancelled then.

    The body of the request must have been read before: only one reader may wait on `receive`.
    """

    __slots__ = ("_left", "_receive", "_task", "_watch")

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._left = False
        self._task: asyncio.Task[object] | None = None
        self._watch: asyncio.Task[None] | None = None

    async def __aenter__(self) -> None:
        self._task = asyncio.current_task()
        self._watch = asyncio.create_task(self._wait())

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        task, watch = self._task, self._watch
        assert task is not None
        assert watch is not None
        # The task refers to this object: a reference back would be a cycle, which only the garbage collector frees.
        self._task = self._watch = None
        watch.cancel()
        if self._left:
            task.uncancel()
            raise Cancelled("the client went away") from error

    async def _wait(self) -> None:
        assert self._task is not None
        while (await self._receive())["type"] != "http.disconnect":
            continue
        self._left = True
        self._task.cancel()
