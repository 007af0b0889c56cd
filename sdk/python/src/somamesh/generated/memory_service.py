"""Builds the calls of MemoryService; generated from soma/memory/v1/memory_service.proto."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from soma.memory.v1 import memory_service_pb2 as pb

from somamesh import conversations, memories, messages
from somamesh.calls import Call, Listing, Page, no_value, unary, unchanged
from somamesh.enums import enum_value
from somamesh.json_values import to_struct, to_value


def remember(
    key: str,
    value: object,
    *,
    metadata: Mapping[str, Any] | None = None,
    ttl_seconds: int | None = None,
    timeout: float | None = None,
) -> Call[memories.Stored]:
    """Stores a value under a key. It can be found by its key and by its meaning.

    Storing again replaces it. A value that JSON cannot represent exactly raises `ValueError` before it is sent.

    Args:
        key: Key, unique in the tenant. It may contain slashes and colons.
        value: The value: any JSON, at most 256 KiB as text.
        metadata: Metadata of the value. A list can be filtered by its `category` and `tags`.
        ttl_seconds: Seconds until the value is deleted. When unset, it is kept.
    """
    request = pb.RememberRequest(
        key=key, value=to_value(value), metadata=to_struct(metadata) if metadata else None, ttl_seconds=ttl_seconds
    )
    return unary(
        lambda mesh: mesh.memory_service.Remember, request, memories.from_remember, repeatable=True, timeout=timeout
    )


def recall(key: str, *, timeout: float | None = None) -> Call[memories.Memory]:
    """Reads the value of a key. It fails with NOT_FOUND when there is none.

    Args:
        key: The key.
    """
    request = pb.RecallRequest(key=key)
    return unary(
        lambda mesh: mesh.memory_service.Recall, request, memories.from_recall, repeatable=True, timeout=timeout
    )


def forget(key: str, *, timeout: float | None = None) -> Call[bool]:
    """Deletes the value of a key. From then on neither the key nor a search finds it.

    Returns whether the key had a value. It is False also when an earlier attempt of this call deleted it and its
    answer was lost.

    Args:
        key: The key. A key under which nothing is stored is no error.
    """
    request = pb.ForgetRequest(key=key)
    return unary(
        lambda mesh: mesh.memory_service.Forget, request, memories.from_forget, repeatable=True, timeout=timeout
    )


def list_memories(
    prefix: str = "", *, category: str = "", tags: Sequence[str] = (), page_size: int = 0, timeout: float | None = None
) -> Listing[memories.Memory]:
    """Lists memories in the order of their keys. Pages are fetched while iterating.

    They come in the order of their keys. Listing does not count as reading.

    Args:
        prefix: Only keys that begin with exactly this text.
        category: Only memories whose metadata has this `category`.
        tags: Only memories whose metadata has all of these in its list `tags`.
        page_size: Most memories in a page; 50 when 0. A page of large values has fewer.
    """

    def read(response: pb.ListMemoriesResponse) -> Page[memories.Memory]:
        return Page([memories.from_memory(each) for each in response.memories], response.next_page_token)

    def page(token: str) -> Call[Page[memories.Memory]]:
        request = pb.ListMemoriesRequest(
            prefix=prefix, category=category, tags=tags, page_size=page_size, page_token=token
        )
        return unary(lambda mesh: mesh.memory_service.ListMemories, request, read, repeatable=True, timeout=timeout)

    return Listing(page)


def retrieve(
    query: str,
    *,
    top_k: int | None = None,
    score_threshold: float | None = None,
    where: Mapping[str, Any] | None = None,
    include_metadata: bool | None = None,
    timeout: float | None = None,
) -> Call[memories.Retrieval]:
    """Searches memories by meaning.

    Args:
        query: What to look for.
        top_k: Most results; 5 when unset.
        score_threshold: Least similarity of a result; 0.7 when unset.
        where: Metadata that a result must have. A scalar must be equal; the elements of a list must all be in the
            result's list.
        include_metadata: Whether results include metadata; true when unset.
    """
    request = pb.RetrieveRequest(
        query=query,
        top_k=top_k,
        score_threshold=score_threshold,
        filter=to_struct(where) if where else None,
        include_metadata=include_metadata,
    )
    return unary(
        lambda mesh: mesh.memory_service.Retrieve, request, memories.from_retrieve, repeatable=True, timeout=timeout
    )


def list_messages(
    conversation_id: str, *, page_size: int = 0, timeout: float | None = None
) -> Listing[messages.Message]:
    """Reads a conversation. It fails with NOT_FOUND when there is none. Pages are fetched while iterating.

    The oldest come first.

    Args:
        conversation_id: The conversation.
        page_size: Most turns in a page; 50 when 0.
    """

    def read(response: pb.ListMessagesResponse) -> Page[messages.Message]:
        return Page([messages.from_conversation(each) for each in response.messages], response.next_page_token)

    def page(token: str) -> Call[Page[messages.Message]]:
        request = pb.ListMessagesRequest(conversation_id=conversation_id, page_size=page_size, page_token=token)
        return unary(lambda mesh: mesh.memory_service.ListMessages, request, read, repeatable=True, timeout=timeout)

    return Listing(page)


def list_conversations(*, page_size: int = 0, timeout: float | None = None) -> Listing[pb.Conversation]:
    """Lists conversations in the order of their ids. Pages are fetched while iterating.

    Args:
        page_size: Most conversations in a page; 50 when 0.
    """

    def read(response: pb.ListConversationsResponse) -> Page[pb.Conversation]:
        return Page([unchanged(each) for each in response.conversations], response.next_page_token)

    def page(token: str) -> Call[Page[pb.Conversation]]:
        request = pb.ListConversationsRequest(page_size=page_size, page_token=token)
        return unary(
            lambda mesh: mesh.memory_service.ListConversations, request, read, repeatable=True, timeout=timeout
        )

    return Listing(page)


def delete_conversation(conversation_id: str, *, timeout: float | None = None) -> Call[None]:
    """Deletes a conversation with all its turns.

    Args:
        conversation_id: The conversation. One that does not exist is no error.
    """
    request = pb.DeleteConversationRequest(conversation_id=conversation_id)
    return unary(
        lambda mesh: mesh.memory_service.DeleteConversation, request, no_value, repeatable=True, timeout=timeout
    )


def get_media(hash: str, *, timeout: float | None = None) -> Call[pb.GetMediaResponse]:
    """Returns a picture, a sound or a document of a conversation or a stored response. It fails with NOT_FOUND when
    the tenant has no bytes with this hash.

    Args:
        hash: SHA-256 of the bytes, as it stands in a remembered conversation.
    """
    request = pb.GetMediaRequest(hash=hash)
    return unary(lambda mesh: mesh.memory_service.GetMedia, request, unchanged, repeatable=True, timeout=timeout)


def get_context(
    conversation_id: str = "",
    *,
    current_message: str = "",
    strategy: Literal["short_only", "long_only", "hybrid"] | None = None,
    token_budget: int | None = None,
    timeout: float | None = None,
) -> Call[conversations.Context]:
    """Returns what a model should know for the next turn.

    Args:
        conversation_id: The conversation; empty for none.
        current_message: The current message. Facts are searched with it.
        strategy: Which memory to use. `short_only`: Only recent turns. `long_only`: Only remembered facts.
            `hybrid`: Recent turns and remembered facts.
        token_budget: Most tokens of turns and facts together; 2,000 when unset. The newest turns and the best
            facts are kept. Tokens are estimated: four bytes of text are one, a picture is 1,000 (85 with the
            detail `low`), and so are a sound and a document.
    """
    request = pb.GetContextRequest(
        conversation_id=conversation_id,
        current_message=current_message,
        strategy=enum_value(pb.Strategy, strategy),
        token_budget=token_budget,
    )
    return unary(
        lambda mesh: mesh.memory_service.GetContext,
        request,
        conversations.from_context,
        repeatable=True,
        timeout=timeout,
    )
