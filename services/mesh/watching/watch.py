"""How one reader follows a sequence, wherever the sequence is kept."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from typing import Protocol, TypeVar

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Watch(Protocol[T_co]):
    """Reads a sequence from a position on; only one task may use it."""

    async def next(self, seconds: float) -> Sequence[T_co]:
        """The next items, in order; empty when none came within so many seconds.

        Raises:
            MeshError: the sequence cannot be read, or no longer exists.
        """
        ...


async def follow(watch: Watch[T], silence: float) -> AsyncGenerator[T | None, None]:
    """All items in order as they come, without end; None after each `silence` seconds without an item.

    Raises:
        MeshError: what the watch raises.
    """
    now = asyncio.get_running_loop().time
    last = now()
    while True:
        found = await watch.next(last + silence - now())
        if not found:
            yield None
        for item in found:
            yield item
        last = now()


async def set_within(event: asyncio.Event, seconds: float) -> None:
    """Return once the event is set, or after so many seconds."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
