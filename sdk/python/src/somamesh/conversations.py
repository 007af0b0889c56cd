"""Conversations the mesh remembers."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Unpack

from soma.memory.v1 import memory_service_pb2 as memory

from somamesh.answers import Turn
from somamesh.calls import Call, Listing, Page, Streaming, unary
from somamesh.messages import Message, Messages, from_conversation, message_of, to_messages
from somamesh.options import Options
from somamesh.turns import Strategy, chat, to_strategy


@dataclass(frozen=True, slots=True)
class Conversation:
    """A conversation; `last_sequence` is the position of its newest message."""

    id: str
    last_sequence: int


@dataclass(frozen=True, slots=True)
class Document:
    """A remembered text; `score` is how well it fits what was said."""

    key: str
    text: str
    score: float


@dataclass(frozen=True, slots=True)
class Context:
    """What a model should know for the next turn.

    Attributes:
        messages: recent ones, oldest first.
        documents: remembered facts, best first.
        token_count: estimated tokens of both.
        truncated: more did not fit the budget.
        degraded: facts were found by keywords, because vectors could not be had.
    """

    messages: tuple[Message, ...]
    documents: tuple[Document, ...]
    token_count: int
    truncated: bool
    degraded: bool


def create_conversation(
    messages: Messages, *, metadata: Mapping[str, Any] | None = None, timeout: float | None = None
) -> Call[Conversation]:
    """Begin a conversation with what was said so far; no model answers yet.

    Args:
        metadata: kept with the first message, see `list_messages`; never shown to a model.
    """
    said = [Message("user", messages)] if isinstance(messages, str) else [message_of(each) for each in messages]
    if metadata and said:
        said[0] = replace(said[0], metadata={**metadata, **said[0].metadata})
    return append_messages(f"conv_{uuid.uuid4().hex}", said, timeout=timeout)


def append_messages(conversation_id: str, messages: Messages, *, timeout: float | None = None) -> Call[Conversation]:
    """Add messages to a conversation, all or none; no model answers."""
    request = memory.AppendMessagesRequest(
        conversation_id=conversation_id, messages=to_messages(messages), request_id=str(uuid.uuid4())
    )

    def read(response: memory.AppendMessagesResponse) -> Conversation:
        return Conversation(conversation_id, response.last_sequence)

    return unary(lambda mesh: mesh.memory.AppendMessages, request, read, repeatable=True, timeout=timeout)


def delete_conversation(conversation_id: str, *, timeout: float | None = None) -> Call[None]:
    """Forget a conversation with all its messages; one that is not known is forgotten already."""
    request = memory.DeleteConversationRequest(conversation_id=conversation_id)
    return unary(lambda mesh: mesh.memory.DeleteConversation, request, lambda _: None, repeatable=True, timeout=timeout)


def send_message(
    conversation_id: str,
    content: str,
    role: str = "user",
    *,
    model: str = "",
    timeout: float | None = None,
    **options: Unpack[Options],
) -> Streaming[Turn]:
    """Say something in a conversation, and have it answered."""
    said = Message(role, content)
    return chat([said], model=model, conversation=conversation_id, timeout=timeout, **options)


def list_messages(conversation_id: str, *, page_size: int = 0, timeout: float | None = None) -> Listing[Message]:
    """The messages of a conversation, oldest first; pages are fetched while iterating. Raises `NotFoundError`."""

    def page(token: str) -> Call[Page[Message]]:
        request = memory.ListMessagesRequest(conversation_id=conversation_id, page_size=page_size, page_token=token)
        return unary(lambda mesh: mesh.memory.ListMessages, request, _page, repeatable=True, timeout=timeout)

    return Listing(page)


def get_context(
    conversation_id: str = "",
    *,
    current_message: str = "",
    strategy: Strategy = "hybrid",
    token_budget: int | None = None,
    timeout: float | None = None,
) -> Call[Context]:
    """What a model should know for the next turn: recent messages, and facts that fit what is said.

    Args:
        current_message: what facts are looked for by.
        strategy: recent turns (`short_only`), facts (`long_only`), or both.
        token_budget: most tokens of both together.
    """
    request = memory.GetContextRequest(
        conversation_id=conversation_id,
        current_message=current_message,
        strategy=to_strategy(strategy),
        token_budget=token_budget,
    )
    return unary(lambda mesh: mesh.memory.GetContext, request, _context, repeatable=True, timeout=timeout)


def _page(response: memory.ListMessagesResponse) -> Page[Message]:
    return Page([from_conversation(each) for each in response.messages], response.next_page_token)


def _context(response: memory.GetContextResponse) -> Context:
    return Context(
        messages=tuple(from_conversation(each) for each in response.recent_messages),
        documents=tuple(Document(each.key, each.text, each.score) for each in response.relevant_documents),
        token_count=response.token_count,
        truncated=response.truncated,
        degraded=response.degraded,
    )
