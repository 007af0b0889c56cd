"""Reads and writes conversations in the memory service, and waits while it is away for a short time."""

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
    """`patience` is the number of seconds for which a call is repeated while memory is away."""

    def __init__(self, stub: "MemoryServiceAsyncStub", patience: float) -> None:
        self._stub = stub
        self._patience = patience

    async def context(self, request: pb.GetContextRequest) -> pb.GetContextResponse:
        """The context of the next turn: recent messages and facts."""
        return await self.patiently(lambda: self._stub.GetContext(request))

    async def append(self, request: pb.AppendMessagesRequest) -> None:
        """Append messages; a repeated request with the same `request_id` changes nothing.

        Raises:
            MeshError: memory refuses them or cannot be reached.
        """
        await self._stub.AppendMessages(request)

    async def messages(self, request: pb.ListMessagesRequest) -> pb.ListMessagesResponse:
        """A page of a conversation; empty if the conversation does not exist."""
        try:
            return await self._stub.ListMessages(request)
        except errors.NotFound:
            return pb.ListMessagesResponse()

    async def delete(self, conversation_id: str) -> None:
        """Delete a conversation."""
        await self._stub.DeleteConversation(pb.DeleteConversationRequest(conversation_id=conversation_id))

    async def patiently(self, call: Callable[[], Awaitable[T]]) -> T:
        """Repeat a call while memory is away, within the patience and within the caller's deadline.

        An error that asks to wait for longer than the patience, such as that of a full disk, is raised at once.

        Raises:
            MeshError: the error of the last attempt.
        """
        loop = asyncio.get_running_loop()
        current = current_call()
        left = current.remaining() if current is not None else None
        until = loop.time() + (self._patience if left is None else min(self._patience, left))
        pause = _FIRST_PAUSE
        while True:
            try:
                return await call()
            except errors.MeshError as error:
                if not self._may_recover(error) or loop.time() + pause >= until:
                    raise
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _may_recover(self, error: errors.MeshError) -> bool:
        return error.code is errors.Code.UNAVAILABLE and (error.facts.retry_after or 0.0) <= max(self._patience, 1.0)
