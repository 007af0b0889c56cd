"""soma.memory.v1.MemoryService over facts, conversations and contexts."""

import asyncio
from typing import Any

import orjson
from soma.errors.v1 import reasons
from soma.memory.v1 import memory_service_pb2 as pb
from soma.memory.v1 import memory_service_pb2_grpc as rpc

from services.memory.adapters.values import struct_to_json, to_json
from services.memory.context import Contexts
from services.memory.conversations import Conversations
from services.memory.facts import Facts
from services.memory.passages import Json, Passage, passages_of
from services.memory.recalls import Recalls
from services.mesh.call import errors
from services.mesh.call.call import principal

MAX_VALUE_BYTES = 256 * 1024
# Larger values are read in a thread, because that takes milliseconds.
_LARGE = 16 * 1024


class MemoryService(rpc.MemoryServiceServicer):
    """Serves the facts and conversations of the caller's tenant."""

    def __init__(self, facts: Facts, recalls: Recalls, conversations: Conversations, contexts: Contexts) -> None:
        self._facts = facts
        self._recalls = recalls
        self._conversations = conversations
        self._contexts = contexts

    async def Remember(self, request: pb.RememberRequest, context: Any) -> pb.RememberResponse:
        _plain("key", request.key)
        if request.ByteSize() > _LARGE:
            passages, facets = await asyncio.to_thread(_read, request)
        else:
            passages, facets = _read(request)
        return await self._facts.remember(principal().tenant_id, request, passages, facets)

    async def Recall(self, request: pb.RecallRequest, context: Any) -> pb.RecallResponse:
        _plain("key", request.key)
        return await self._recalls.recall(principal().tenant_id, request.key)

    async def Forget(self, request: pb.ForgetRequest, context: Any) -> pb.ForgetResponse:
        _plain("key", request.key)
        return await self._facts.forget(principal().tenant_id, request.key)

    async def ListMemories(self, request: pb.ListMemoriesRequest, context: Any) -> pb.ListMemoriesResponse:
        return await self._facts.page(principal().tenant_id, request)

    async def Retrieve(self, request: pb.RetrieveRequest, context: Any) -> pb.RetrieveResponse:
        facets = struct_to_json(request.filter, "filter")
        return await self._facts.retrieve(principal().tenant_id, request, facets)

    async def AppendMessages(self, request: pb.AppendMessagesRequest, context: Any) -> pb.AppendMessagesResponse:
        _plain("conversation_id", request.conversation_id)
        return await self._conversations.append(principal().tenant_id, request)

    async def ListMessages(self, request: pb.ListMessagesRequest, context: Any) -> pb.ListMessagesResponse:
        _plain("conversation_id", request.conversation_id)
        return await self._conversations.list(principal().tenant_id, request)

    async def ListConversations(
        self, request: pb.ListConversationsRequest, context: Any
    ) -> pb.ListConversationsResponse:
        return await self._conversations.page(principal().tenant_id, request)

    async def DeleteConversation(
        self, request: pb.DeleteConversationRequest, context: Any
    ) -> pb.DeleteConversationResponse:
        _plain("conversation_id", request.conversation_id)
        return await self._conversations.delete(principal().tenant_id, request)

    async def GetMedia(self, request: pb.GetMediaRequest, context: Any) -> pb.GetMediaResponse:
        return await self._conversations.media(principal().tenant_id, request)

    async def GetContext(self, request: pb.GetContextRequest, context: Any) -> pb.GetContextResponse:
        _plain("conversation_id", request.conversation_id)
        return await self._contexts.make(principal().tenant_id, request)


def _read(request: pb.RememberRequest) -> tuple[list[Passage], Json]:
    """The passages of the value, and the metadata as JSON.

    Raises:
        InvalidArgument: the value or the metadata is no JSON, or the value is too long.
    """
    value = to_json(request.value, "value")
    size = len(orjson.dumps(value))
    if size > MAX_VALUE_BYTES:
        why = f"at most {MAX_VALUE_BYTES} bytes as JSON text, this has {size}"
        raise errors.InvalidArgument(
            f"value: {why}", reason=reasons.VALUE_TOO_LARGE, violations=(errors.FieldViolation("value", why),)
        )
    return passages_of(request.key, value), struct_to_json(request.metadata, "metadata")


def _plain(field: str, text: str) -> None:
    """Refuse a name with a NUL: names are kept in columns of text, where Postgres allows none."""
    if "\0" in text:
        why = "must not contain NUL"
        raise errors.InvalidArgument(f"{field} {why}", violations=(errors.FieldViolation(field, why),))
