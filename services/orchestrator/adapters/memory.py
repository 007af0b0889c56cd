"""Reads and writes conversations in the memory service; waits out a short absence of it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from soma.memory.v1 import memory_service_pb2 as pb

from services.mesh.call import errors
from services.mesh.call.call import current_call

if TYPE_CHECKING:
    from soma.memory.v1.memory_service_pb2_grpc import MemoryServiceAsyncStub

T = TypeVar("T")

_FIRST_PAUSE = 0.05
_LONGEST_PAUSE = 0.5


class Memory:
    """`patience` is how many seconds an absent memory service is asked again before its error counts."""

    def __init__(self, stub: "MemoryServiceAsyncStub", patience: float) -> None:
        self._stub = stub
        self._patience = patience

    async def context(self, request: pb.GetContextRequest) -> pb.GetContextResponse:
        """What a model should know for the next turn."""
        return await self.patiently(lambda: self._stub.GetContext(request))

    async def append(self, request: pb.AppendMessagesRequest) -> None:
        """Add turns; its `request_id` makes repeating it harmless.

        Raises:
            MeshError: memory does not take them, or cannot be reached.
        """
        await self._stub.AppendMessages(request)

    async def turns(self, request: pb.ListMessagesRequest) -> pb.ListMessagesResponse:
        """A page of a conversation; empty where nothing was said."""
        try:
            return await self._stub.ListMessages(request)
        except errors.NotFound:
            return pb.ListMessagesResponse()

    async def forget(self, conversation_id: str) -> None:
        """Forget a conversation."""
        await self._stub.DeleteConversation(pb.DeleteConversationRequest(conversation_id=conversation_id))

    async def patiently(self, call: Callable[[], Awaitable[T]]) -> T:
        """Repeat what needs memory while memory is away, at most for as long as the turn has patience.

        An error that asks to be left alone for longer than that, as one of a full disk does, counts at once.

        Raises:
            MeshError: the last attempt's.
        """
        loop = asyncio.get_running_loop()
        serving = current_call()
        left = serving.remaining() if serving is not None else None
        until = loop.time() + (self._patience if left is None else min(self._patience, left))
        pause = _FIRST_PAUSE
        while True:
            try:
                return await call()
            except errors.MeshError as error:
                if not self._may_pass(error) or loop.time() + pause >= until:
                    raise
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _may_pass(self, error: errors.MeshError) -> bool:
        return error.code is errors.Code.UNAVAILABLE and (error.facts.retry_after or 0.0) <= max(self._patience, 1.0)
