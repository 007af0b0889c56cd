"""Cancels a block of work as soon as its client disconnects."""

import asyncio
from types import TracebackType

from services.mesh.call.errors import Cancelled
from services.mesh.transport.departure import Departure


class CancelOnDisconnect:
    """Async context manager that cancels its block when the client disconnects, and raises Cancelled then."""

    __slots__ = ("_departure", "_left", "_task")

    def __init__(self, departure: Departure) -> None:
        self._departure = departure
        self._left = False
        self._task: asyncio.Task[object] | None = None

    async def __aenter__(self) -> None:
        self._task = asyncio.current_task()
        self._departure.watch(self._cancel)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._departure.unwatch(self._cancel)
        if self._left and self._task is not None:
            self._task.uncancel()
            raise Cancelled("the client went away") from error

    def _cancel(self) -> None:
        assert self._task is not None
        self._left = True
        self._task.cancel()
