"""A chat turn: the request it is asked with, and the answer it comes to."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from soma.model.v1 import message_pb2 as model
from soma.orchestrator.v1.chat_service_pb2 import ChatFinished, ChatRequest, ChatResponse, ChatStarted

from somamesh.errors import SomaError, Unavailable, stated

ROLES = {
    "system": model.ROLE_SYSTEM,
    "user": model.ROLE_USER,
    "assistant": model.ROLE_ASSISTANT,
    "tool": model.ROLE_TOOL,
}
FINISH_REASONS: dict[int, str] = {
    model.FINISH_REASON_STOP: "stop",
    model.FINISH_REASON_LENGTH: "length",
    model.FINISH_REASON_TOOL_CALLS: "tool_calls",
    model.FINISH_REASON_CONTENT_FILTER: "content_filter",
}
Messages = str | Sequence[Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A function the model asks to call; `arguments` is JSON text as the model wrote it."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens a turn cost."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer; `sources` are the keys of what it quotes or was given to answer from."""

    id: str
    text: str
    tool_calls: tuple[ToolCall, ...]
    model: str
    conversation: str
    finish_reason: str
    usage: Usage
    sources: tuple[str, ...]
    time_to_first_token: float
    duration: float


def chat_request(messages: Messages, model_name: str, conversation: str, options: Mapping[str, Any]) -> ChatRequest:
    """The request of a turn; a string is what the user says.

    Raises:
        ValueError: a message has an unknown role, or an option is not one of the contract's sampling fields.
    """
    said = [{"role": "user", "content": messages}] if isinstance(messages, str) else messages
    return ChatRequest(
        model=model_name,
        conversation_id=conversation,
        messages=[_message(each) for each in said],
        sampling=model.Sampling(**options) if options else None,
    )


def _message(said: Mapping[str, str]) -> model.Message:
    if said.get("role") not in ROLES:
        raise ValueError(f"a message's role is one of {', '.join(ROLES)}, not {said.get('role')!r}")
    return model.Message(
        role=ROLES[said["role"]],
        content=said.get("content", ""),
        name=said.get("name", ""),
        tool_call_id=said.get("tool_call_id", ""),
    )


@dataclass(slots=True)
class Turn:
    """Takes the events of one turn as they come."""

    request_id: str
    _texts: list[str] = field(default_factory=list)
    _calls: dict[int, model.ToolCall] = field(default_factory=dict)
    _started: ChatStarted | None = None
    _finished: ChatFinished | None = None

    def take(self, event: ChatResponse) -> str:
        """Take one event; returns the text it adds.

        Raises:
            SomaError: the event says that the turn failed.
        """
        kind = event.WhichOneof("payload")
        if kind == "delta":
            self._texts.append(event.delta.text)
            return event.delta.text
        if kind == "tool_call":
            piece = event.tool_call
            call = self._calls.setdefault(piece.index, model.ToolCall())
            call.call_id = call.call_id or piece.call_id
            call.name = call.name or piece.name
            call.arguments += piece.arguments
        elif kind == "started":
            self._started = event.started
        elif kind == "finished":
            self._finished = event.finished
        elif kind == "error":
            raise self._failure(event)
        return ""

    def answer(self) -> Answer:
        """The whole answer.

        Raises:
            Unavailable: the stream ended before the answer did.
        """
        started, finished = self._started, self._finished
        if started is None or finished is None:
            raise Unavailable(
                "the answer was cut off", reason="STREAM_CUT", status="UNAVAILABLE", request_id=self.request_id
            )
        usage = finished.usage
        return Answer(
            id=started.chat_id,
            text="".join(self._texts),
            tool_calls=tuple(
                ToolCall(call.call_id, call.name, call.arguments) for _, call in sorted(self._calls.items())
            ),
            model=started.model,
            conversation=started.conversation_id,
            finish_reason=FINISH_REASONS.get(finished.finish_reason, "stop"),
            usage=Usage(usage.prompt_tokens, usage.completion_tokens, usage.total_tokens),
            sources=_keys(finished.sources or started.sources),
            time_to_first_token=finished.time_to_first_token_seconds,
            duration=finished.duration_seconds,
        )

    def _failure(self, event: ChatResponse) -> SomaError:
        error = event.error
        return stated(error.code, error.message, error.reason, self.request_id, error.retry_after_seconds or None)


def _keys(sources: Iterable[model.Source]) -> tuple[str, ...]:
    return tuple(source.key for source in sources)
