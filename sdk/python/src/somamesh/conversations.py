"""Conversations that the mesh remembers."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Unpack

from soma.memory.v1 import memory_service_pb2 as memory

from somamesh.answers import Turn
from somamesh.calls import Call, Streaming, unary
from somamesh.messages import Message, Messages, from_conversation, message_of, to_messages
from somamesh.options import Options
from somamesh.turns import chat


@dataclass(frozen=True, slots=True)
class Conversation:
    """A conversation; `last_sequence` is the position of its newest message."""

    id: str
    last_sequence: int


@dataclass(frozen=True, slots=True)
class Document:
    """A remembered text; `score` is how well it matches the last message."""

    key: str
    text: str
    score: float


@dataclass(frozen=True, slots=True)
class Context:
    """The context of the next turn.

    Attributes:
        messages: recent messages, oldest first.
        documents: remembered facts, best first.
        token_count: estimated tokens of both.
        truncated: something was left out, because the budget was too small.
        degraded: facts were found by keywords, because vectors were not available.
    """

    messages: tuple[Message, ...]
    documents: tuple[Document, ...]
    token_count: int
    truncated: bool
    degraded: bool


def create_conversation(
    messages: Messages, *, metadata: Mapping[str, Any] | None = None, timeout: float | None = None
) -> Call[Conversation]:
    """Begin a conversation with the messages so far; no model answers yet.

    Args:
        metadata: stored with the first message, see `list_messages`; a model never sees it.
    """
    sent = [Message("user", messages)] if isinstance(messages, str) else [message_of(each) for each in messages]
    if metadata and sent:
        sent[0] = replace(sent[0], metadata={**metadata, **sent[0].metadata})
    return append_messages(f"conv_{uuid.uuid4().hex}", sent, timeout=timeout)


def append_messages(conversation_id: str, messages: Messages, *, timeout: float | None = None) -> Call[Conversation]:
    """Add messages to a conversation, all of them or none; no model answers."""
    request = memory.AppendMessagesRequest(
        conversation_id=conversation_id, messages=to_messages(messages), request_id=str(uuid.uuid4())
    )

    def read(response: memory.AppendMessagesResponse) -> Conversation:
        return Conversation(conversation_id, response.last_sequence)

    return unary(lambda mesh: mesh.memory_service.AppendMessages, request, read, repeatable=True, timeout=timeout)


def send_message(
    conversation_id: str,
    content: str,
    role: str = "user",
    *,
    model: str = "",
    timeout: float | None = None,
    **options: Unpack[Options],
) -> Streaming[Turn]:
    """Send a message in a conversation, and get the model's answer."""
    message = Message(role, content)
    return chat([message], model=model, conversation=conversation_id, timeout=timeout, **options)


def from_context(response: memory.GetContextResponse) -> Context:
    """Convert the context of the next turn."""
    return Context(
        messages=tuple(from_conversation(each) for each in response.recent_messages),
        documents=tuple(Document(each.key, each.text, each.score) for each in response.relevant_documents),
        token_count=response.token_count,
        truncated=response.truncated,
        degraded=response.degraded,
    )
