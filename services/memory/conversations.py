"""Appends turns to conversations, lists and forgets them."""

from contextlib import AsyncExitStack

from soma.errors.v1 import reasons
from soma.memory.v1 import memory_service_pb2 as pb
from soma.model.v1 import message_pb2

from services.memory.indexing import Indexer
from services.memory.passages import cut
from services.memory.store.conversations import ConversationStore
from services.memory.window import estimate
from services.mesh.blobs.blobs import Blobs
from services.mesh.call import errors, page_token
from services.messages.message import media_of, texts_of, thoughts_of

PAGE_SIZE = 50
_INT32 = 2**31 - 1
# A page is smaller than the largest message.
_MAX_PAGE_BYTES = 3 * 1024 * 1024
# Of a very long turn, only the beginning is searched.
_MAX_PASSAGES = 32
# About what a model counts for a picture, a sound or a document. For one picture, OpenAI counts 85 with low detail and
# 255 to 1,105 with high detail, Anthropic up to 1,600, and Gemini 258 for each tile. Models differ more than pictures
# do, so the size of a picture would not make this better. Sounds and documents differ more, but a larger number would
# leave their turns out of a context of the usual size.
_MEDIA_TOKENS = 1000
_LOW_DETAIL_TOKENS = 85
_ANY_TYPE = "application/octet-stream"
# Messages of people and models are searched; instructions and results of tools are not.
_SEARCHED = frozenset({message_pb2.ROLE_USER, message_pb2.ROLE_ASSISTANT})


class Conversations:
    """Turns of conversations; they can be searched a moment after they were appended."""

    def __init__(self, store: ConversationStore, indexer: Indexer, blobs: Blobs) -> None:
        self._store = store
        self._indexer = indexer
        self._blobs = blobs

    async def append(self, tenant_id: str, request: pb.AppendMessagesRequest) -> pb.AppendMessagesResponse:
        """Add turns. Bytes in them are kept with the conversation, and the turns have their hash.

        Raises:
            NotFound: MEDIA_NOT_FOUND, a turn has a hash of bytes that the tenant does not have.
        """
        passages = [
            (place, text)
            for place, message in enumerate(request.messages)
            if message.role in _SEARCHED
            for text in cut("\n".join(texts_of(message)).replace("\0", "\ufffd"))[:_MAX_PASSAGES]
        ]
        tokens = [_tokens(message) for message in request.messages]
        async with AsyncExitStack() as stack:
            for media in media_of(request.messages):
                if media.data:
                    media.hash = await stack.enter_async_context(self._blobs.hold(tenant_id, media.data, here=True))
            last = await self._store.append(tenant_id, request, tokens, passages)
        if passages:
            self._indexer.wake()
        return pb.AppendMessagesResponse(last_sequence=last)

    async def media(self, tenant_id: str, request: pb.GetMediaRequest) -> pb.GetMediaResponse:
        """The bytes of a picture, a sound or a document.

        Raises:
            NotFound: MEDIA_NOT_FOUND, the tenant has no such bytes.
        """
        data = await self._blobs.read(tenant_id, request.hash)
        media_type = await self._store.media_type(tenant_id, request.hash)
        return pb.GetMediaResponse(data=data, media_type=media_type or _ANY_TYPE)

    async def list(self, tenant_id: str, request: pb.ListMessagesRequest) -> pb.ListMessagesResponse:
        """A page of turns.

        Raises:
            NotFound: there is no such conversation.
            InvalidArgument: the page token was not made for this list.
        """
        place = page_token.read(request, int)
        after = place[0] if place else 0
        if after > _INT32:
            raise page_token.refusal()
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
            response.next_page_token = page_token.write(request, messages[-1].sequence)
        return response

    async def page(self, tenant_id: str, request: pb.ListConversationsRequest) -> pb.ListConversationsResponse:
        """A page of conversations.

        Raises:
            InvalidArgument: the page token was not made for this list.
        """
        place = page_token.read(request, str)
        limit = request.page_size or PAGE_SIZE
        found = await self._store.conversations(tenant_id, place[0] if place else "", limit + 1)
        conversations, token = page_token.cut(request, found, limit, lambda last: (last.conversation_id,))
        return pb.ListConversationsResponse(conversations=conversations, next_page_token=token)

    async def delete(self, tenant_id: str, request: pb.DeleteConversationRequest) -> pb.DeleteConversationResponse:
        """Forget a conversation."""
        deleted = await self._store.delete(tenant_id, request.conversation_id)
        return pb.DeleteConversationResponse(deleted_messages=deleted)


def _tokens(message: message_pb2.Message) -> int:
    called = [text for call in message.tool_calls for text in (call.name, call.arguments)]
    thought = [thought.text for thought in thoughts_of(message)]
    media = sum(_LOW_DETAIL_TOKENS if one.detail == "low" else _MEDIA_TOKENS for one in media_of([message]))
    return estimate(*texts_of(message), message.name, *thought, *called) + media
