"""Messages of chat sessions, and how long answers took."""

from dataclasses import dataclass
from datetime import datetime

from soma.orchestrator.v1 import chat_session_service_pb2 as pb

from somamesh.json_values import from_struct
from somamesh.messages import Message
from somamesh.times import moment


@dataclass(frozen=True, slots=True)
class Performance:
    """The time and tokens of an answer; times are in seconds.

    Attributes:
        load_time: time to load the model; 0 when it was loaded already.
        prompt_eval_time: time until the first token.
        generation_time: time from the first token to the last.
        tokens_per_second: 0 when it cannot be measured.
        context_length_chars: number of characters that the model was given.
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
    """An answer in a session; `id` is the id of the turn, also in its usage record."""

    id: str
    text: str
    model: str
    finish_reason: str
    performance: Performance


@dataclass(frozen=True, slots=True)
class SessionStats:
    """Statistics of a session; times are in seconds, and averages are 0 before the first answer."""

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


def from_reply(response: pb.SendChatMessageResponse) -> Reply:
    """Convert an answer and its performance."""
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


def from_chat_message(message: pb.ChatMessage) -> Message:
    """Convert a message of a session."""
    return Message(
        message.role,
        message.content,
        metadata=from_struct(message.metadata),
        sequence=message.sequence,
        created_at=moment(message.timestamp),
    )


def from_stats(response: pb.GetChatSessionStatsResponse) -> SessionStats:
    """Convert the statistics of a session."""
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
