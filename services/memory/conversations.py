"""Appends turns to conversations, lists and forgets them."""

import base64
import binascii

from soma.errors.v1 import reasons
from soma.memory.v1 import memory_service_pb2 as pb
from soma.model.v1 import message_pb2

from services.memory.indexing import Indexer
from services.memory.passages import cut
from services.memory.store.conversations import ConversationStore
from services.memory.window import estimate
from services.mesh import errors

PAGE_SIZE = 50
# A page stays below what a message may have.
_MAX_PAGE_BYTES = 3 * 1024 * 1024
# Of a very long turn only the beginning is found by meaning or words.
_MAX_PASSAGES = 32
# What people and models said; instructions and tools' results are not looked for.
_SEARCHED = frozenset({message_pb2.ROLE_USER, message_pb2.ROLE_ASSISTANT})


class Conversations:
    """Turns of conversations; what was said in them becomes searchable a moment later."""

    def __init__(self, store: ConversationStore, indexer: Indexer) -> None:
        self._store = store
        self._indexer = indexer

    async def append(self, tenant_id: str, request: pb.AppendMessagesRequest) -> pb.AppendMessagesResponse:
        """Add turns."""
        passages = [
            (place, text)
            for place, message in enumerate(request.messages)
            if message.role in _SEARCHED
            for text in cut(message.content.replace("\0", "\ufffd"))[:_MAX_PASSAGES]
        ]
        tokens = [_tokens(message) for message in request.messages]
        last = await self._store.append(tenant_id, request, tokens, passages)
        if passages:
            self._indexer.wake()
        return pb.AppendMessagesResponse(last_sequence=last)

    async def list(self, tenant_id: str, request: pb.ListMessagesRequest) -> pb.ListMessagesResponse:
        """A page of turns.

        Raises:
            NotFound: there is no such conversation.
            InvalidArgument: the page token is not one of ours.
        """
        after = _sequence(request.page_token) if request.page_token else 0
        page = await self._store.page(
            tenant_id, request.conversation_id, after, request.page_size or PAGE_SIZE, _MAX_PAGE_BYTES
        )
        if page is None:
            raise errors.NotFound(
                "there is no such conversation",
                reason=reasons.CONVERSATION_NOT_FOUND,
                metadata={"conversation_id": request.conversation_id},
            )
        messages, length = page
        response = pb.ListMessagesResponse(messages=messages)
        if messages and messages[-1].sequence < length:
            response.next_page_token = _token(messages[-1].sequence)
        return response

    async def delete(self, tenant_id: str, request: pb.DeleteConversationRequest) -> pb.DeleteConversationResponse:
        """Forget a conversation."""
        deleted = await self._store.delete(tenant_id, request.conversation_id)
        return pb.DeleteConversationResponse(deleted_messages=deleted)


def _tokens(message: message_pb2.Message) -> int:
    called = [text for call in message.tool_calls for text in (call.name, call.arguments)]
    return estimate(message.content, message.name, *called)


def _token(sequence: int) -> str:
    return base64.urlsafe_b64encode(f"after:{sequence}".encode()).decode()


def _sequence(token: str) -> int:
    try:
        kind, _, sequence = base64.urlsafe_b64decode(token).decode("ascii").partition(":")
        if kind == "after" and sequence.isdecimal() and len(sequence) < 10:
            return int(sequence)
    except (binascii.Error, ValueError):
        pass
    raise errors.InvalidArgument(
        "this page token was not given by ListMessages",
        violations=(errors.FieldViolation("page_token", "pass next_page_token of the page before"),),
    )
