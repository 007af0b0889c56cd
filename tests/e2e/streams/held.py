"""Clients that keep a stream open while a test changes the mesh."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager, suppress

from tests.e2e.stack import CALL_SECONDS, Stack
from tests.e2e.streams.ending import Ending, ending
from tests.e2e.streams.reader import Ask, Reader


class HeldStream:
    """A client and its stream, which it reads as fast as possible."""

    def __init__(self, name: str, pieces: AsyncGenerator[str, None]) -> None:
        self.name = name
        self.pieces: list[str] = []
        self._changed = asyncio.Event()
        self._reading = asyncio.create_task(self._read(pieces))

    async def begun(self, pieces: int = 1) -> None:
        """Wait for this number of pieces; the test fails if the answer ends before."""
        async with asyncio.timeout(CALL_SECONDS):
            while len(self.pieces) < pieces:
                assert not self._reading.done(), f"{self.name}: {await self._reading}"
                self._changed.clear()
                await self._changed.wait()

    async def more(self, pieces: int = 2) -> None:
        """Wait for this number of additional pieces."""
        await self.begun(len(self.pieces) + pieces)

    @property
    def open(self) -> bool:
        """Whether the stream has not ended."""
        return not self._reading.done()

    async def ended(self, seconds: float = 2 * CALL_SECONDS) -> Ending:
        """Wait for the end of the stream; returns how it ended."""
        async with asyncio.timeout(seconds):
            return await asyncio.shield(self._reading)

    async def leave(self) -> None:
        """Close the stream, as a client that disconnects does."""
        self._reading.cancel()
        with suppress(asyncio.CancelledError):
            await self._reading

    async def _read(self, pieces: AsyncGenerator[str, None]) -> Ending:
        error: Exception | None = None
        try:
            async with aclosing(pieces):
                async for piece in pieces:
                    self.pieces.append(piece)
                    self._changed.set()
        except Exception as raised:
            error = raised
        finally:
            self._changed.set()
        return ending("".join(self.pieces), error)


@asynccontextmanager
async def holding(
    stack: Stack, readers: Mapping[str, Reader], asks: Mapping[str, Ask] | None = None, each: int = 1
) -> AsyncIterator[list[HeldStream]]:
    """`each` clients on every surface, whose answers have begun; all of them disconnect at the end."""
    held = [
        HeldStream(name, read(stack, (asks or {}).get(name, Ask())))
        for name, read in readers.items()
        for _ in range(each)
    ]
    try:
        for client in held:
            await client.begun()
        yield held
    finally:
        for client in held:
            await client.leave()
