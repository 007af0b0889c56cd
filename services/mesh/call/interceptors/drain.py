"""Keeps the calls in progress, so that a stopping process can wait for them and then end the rest."""

import asyncio
from contextlib import suppress

from services.mesh.call.call import Call
from services.mesh.call.errors import MeshError
from services.mesh.call.hooks import Hooks
from services.mesh.call.method import Method

# A call says that it is endless after it has begun, and nothing tells a waiting process: it looks again.
_LOOK_SECONDS = 0.2


class Drain:
    """The calls in progress of one process; `bind` is its interceptor."""

    def __init__(self) -> None:
        self._calls: dict[Call, asyncio.Task[object] | None] = {}
        self._left = asyncio.Event()

    def bind(self, _: Method) -> Hooks:
        """Track the calls of a method."""
        return Hooks(enter=self._enter, leave=self._leave)

    @property
    def active(self) -> int:
        """Calls in progress."""
        return len(self._calls)

    async def finish(self, grace: float) -> int:
        """Wait at most `grace` seconds for calls to end, then end the rest; returns how many had to be ended.

        Nobody waits for endless calls: the process itself may have made one again after they were ended.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(grace):
                while any(not call.endless for call in self._calls):
                    self._left.clear()
                    with suppress(TimeoutError):
                        await asyncio.wait_for(self._left.wait(), _LOOK_SECONDS)
        return self.end()

    def end(self, *, endless: bool = False) -> int:
        """End the calls in progress, or only the endless ones, as UNAVAILABLE (`DRAINING`); returns how many."""
        ended = 0
        for call, task in list(self._calls.items()):
            if task is not None and not task.done() and not call.draining and (call.endless or not endless):
                call.draining = True
                task.cancel()
                ended += 1
        return ended

    def _enter(self, call: Call) -> None:
        self._calls[call] = asyncio.current_task()

    def _leave(self, call: Call, _: MeshError | None) -> None:
        self._calls.pop(call, None)
        self._left.set()
