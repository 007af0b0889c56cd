"""The done callbacks of a call. The caller's half keeps them, so that they do not keep the call alive."""

import asyncio
from collections.abc import Callable
from contextvars import Context, copy_context
from typing import Any


class Callbacks:
    """Functions of the call, to run once in the contexts they were added in."""

    __slots__ = ("_added",)

    def __init__(self) -> None:
        self._added: list[tuple[Callable[[Any], None], Context]] = []

    def add(self, callback: Callable[[Any], None]) -> None:
        """Keep a callback."""
        self._added.append((callback, copy_context()))

    def schedule(self, loop: asyncio.AbstractEventLoop, call: object) -> None:
        """Have the event loop run the callbacks with `call`, once."""
        added, self._added = self._added, []
        for callback, context in added:
            loop.call_soon(callback, call, context=context)
