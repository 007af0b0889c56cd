"""What is said in chat sessions, and what it took."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from soma.orchestrator.v1 import chat_session_service_pb2 as pb

from somamesh.calls import Call, Listing, Page, unary
from somamesh.json_values import from_struct, to_struct
from somamesh.messages import Message
from somamesh.times import moment


@dataclass(frozen=True, slots=True)
class Performance:
    """What an answer took; times in seconds.

    Attributes:
        load_time: loading the model; 0 where it was loaded already.
        prompt_eval_time: until the first token.
        generation_time: from the first token to the last.
        tokens_per_second: 0 when not measurable.
        context_length_chars: characters the model was given.
    """

    response_time: float
    load_time: float
    prompt_eval_time: float
    generation_time: float
    prompt_tokens: int
    response_tokens: int
    total_tokens: int
    tokens_per_second: float
    context_length_chars: int


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer in a session; `id` is what the usage record knows the turn by."""

    id: str
    text: str
    model: str
    finish_reason: str
    performance: Performance


@dataclass(frozen=True, slots=True)
class SessionStats:
    """Sums of a session; times in seconds, means 0 before the first answer."""

    message_count: int
    user_messages: int
    assistant_messages: int
    failed_messages: int
    prompt_tokens: int
    response_tokens: int
    total_tokens: int
    total_response_time: float
    average_response_time: float
    average_tokens_per_second: float
    duration: float
    last_message_at: datetime | None


def send_session_message(
    session_id: str,
    message: str,
    *,
    model: str = "",
    metadata: Mapping[str, Any] | None = None,
    etag: str = "",
    timeout: float | None = None,
) -> Call[Reply]:
    """Say something in a session, and have it answered.

    Args:
        model: answers this message; the session's when empty.
        metadata: kept with the message, never shown to a model.
        etag: only if the session is still as it was read; `ConflictError` when it is not.
    """
    request = pb.SendChatMessageRequest(
        session_id=session_id, message=message, model_name=model, etag=etag, request_id=str(uuid.uuid4())
    )
    if metadata:
        request.metadata.CopyFrom(to_struct(metadata))
    return unary(
        lambda mesh: mesh.sessions.SendChatMessage, request, _reply, repeatable=True, timeout=timeout, slow=True
    )


def list_session_messages(session_id: str, *, page_size: int = 0, timeout: float | None = None) -> Listing[Message]:
    """The messages of a session, oldest first; pages are fetched while iterating."""

    def page(token: str) -> Call[Page[Message]]:
        request = pb.ListChatMessagesRequest(session_id=session_id, page_size=page_size, page_token=token)
        return unary(lambda mesh: mesh.sessions.ListChatMessages, request, _page, repeatable=True, timeout=timeout)

    return Listing(page)


def get_session_stats(session_id: str, *, timeout: float | None = None) -> Call[SessionStats]:
    """The sums of a session."""
    request = pb.GetChatSessionStatsRequest(session_id=session_id)
    return unary(lambda mesh: mesh.sessions.GetChatSessionStats, request, _stats, repeatable=True, timeout=timeout)


def _reply(response: pb.SendChatMessageResponse) -> Reply:
    took = response.performance_metrics
    performance = Performance(
        response_time=took.response_time_seconds,
        load_time=took.load_time_seconds,
        prompt_eval_time=took.prompt_eval_time_seconds,
        generation_time=took.generation_time_seconds,
        prompt_tokens=took.prompt_tokens,
        response_tokens=took.response_tokens,
        total_tokens=took.total_tokens,
        tokens_per_second=took.tokens_per_second,
        context_length_chars=took.context_length_chars,
    )
    return Reply(response.message_id, response.response, response.model, response.finish_reason, performance)


def _page(response: pb.ListChatMessagesResponse) -> Page[Message]:
    messages = [
        Message(
            each.role,
            each.content,
            metadata=from_struct(each.metadata),
            sequence=each.sequence,
            created_at=moment(each.timestamp),
        )
        for each in response.messages
    ]
    return Page(messages, response.next_page_token)


def _stats(response: pb.GetChatSessionStatsResponse) -> SessionStats:
    return SessionStats(
        message_count=response.message_count,
        user_messages=response.user_messages,
        assistant_messages=response.assistant_messages,
        failed_messages=response.failed_messages,
        prompt_tokens=response.prompt_tokens,
        response_tokens=response.response_tokens,
        total_tokens=response.total_tokens,
        total_response_time=response.total_response_time_seconds,
        average_response_time=response.average_response_time_seconds,
        average_tokens_per_second=response.average_tokens_per_second,
        duration=response.duration_seconds,
        last_message_at=moment(response.last_message_at),
    )
