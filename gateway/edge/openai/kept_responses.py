"""Responses that nobody stores: they are kept in memory, and only the WebSocket that they came over continues them."""

import itertools
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

from soma.orchestrator.v1.response_service_pb2 import CreateResponseRequest, Response

MOST_RESPONSES: Final = 64
"""The most responses of one WebSocket that can be continued; a response that another continues counts no more."""

_numbers = itertools.count()


class Kept:
    """A response with its input.

    Attributes:
        previous_response_id: the stored response that the first one of the chain continues; empty if it begins one.
        media: holds the bytes that the input refers to; None if there are none.
    """

    __slots__ = ("before", "context", "media", "previous_response_id", "size", "uses")

    def __init__(
        self,
        before: "Kept | None",
        previous_response_id: str,
        context: CreateResponseRequest,
        media_bytes: int = 0,
        media: AsyncExitStack | None = None,
    ) -> None:
        self.before = before
        self.previous_response_id: str = before.previous_response_id if before is not None else previous_response_id
        self.context = context
        self.media = media
        self.size = context.ByteSize() + media_bytes
        self.uses = 0

    def chain(self) -> list["Kept"]:
        """The responses up to this one, oldest first."""
        found = [*self._back()]
        found.reverse()
        return found

    def _back(self) -> Iterator["Kept"]:
        kept: Kept | None = self
        while kept is not None:
            yield kept
            kept = kept.before


class KeptResponses:
    """The kept responses of all WebSockets of a process; the ones that were not used for longest go first."""

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._entries: OrderedDict[tuple[int, str], Kept] = OrderedDict()
        self.bytes = 0

    def find(self, key: tuple[int, str]) -> Kept | None:
        """A response that can be continued."""
        found = self._entries.get(key)
        if found is not None:
            self._entries.move_to_end(key)
        return found

    async def add(self, key: tuple[int, str], kept: Kept) -> None:
        """Keep a response, and let go of others if all together are too large."""
        self.bytes += kept.size
        if kept.before is not None:
            kept.before.uses += 1
        kept.uses += 1
        self._entries[key] = kept
        while self.bytes > self._most and self._entries:
            _, oldest = self._entries.popitem(last=False)
            await self.let_go(oldest)

    async def remove(self, key: tuple[int, str]) -> None:
        """Let a response be continued no more."""
        kept = self._entries.pop(key, None)
        if kept is not None:
            await self.let_go(kept)

    async def let_go(self, kept: Kept) -> None:
        """End one use of a response; after the last one, nothing is left of it."""
        last: Kept | None = kept
        while last is not None:
            last.uses -= 1
            if last.uses:
                return
            self.bytes -= last.size
            if last.media is not None:
                await last.media.aclose()
            last = last.before


class ConnectionResponses:
    """The kept responses of one WebSocket."""

    def __init__(self, all_kept: KeptResponses) -> None:
        self._all = all_kept
        self._number = next(_numbers)
        self._ids: OrderedDict[str, None] = OrderedDict()

    @asynccontextmanager
    async def using(self, response_id: str) -> AsyncIterator[Kept | None]:
        """A kept response, which is not let go of while the block runs; None if it is not kept."""
        kept = self._all.find((self._number, response_id)) if response_id in self._ids else None
        if kept is None:
            yield None
            return
        kept.uses += 1
        try:
            yield kept
        finally:
            await self._all.let_go(kept)

    async def keep(self, response: Response, kept: Kept) -> None:
        """Keep a response that has ended; its output joins the context."""
        for item in response.output:
            kept.context.input.add().item.CopyFrom(item)
        kept.size += sum(item.ByteSize() for item in response.output)
        self._ids[response.response_id] = None
        await self._all.add((self._number, response.response_id), kept)
        while len(self._ids) > MOST_RESPONSES:
            await self.evict(next(iter(self._ids)))

    async def evict(self, response_id: str) -> None:
        """Let a response be continued no more."""
        if response_id in self._ids:
            del self._ids[response_id]
            await self._all.remove((self._number, response_id))

    async def close(self) -> None:
        """Let go of everything."""
        for response_id in [*self._ids]:
            await self.evict(response_id)
