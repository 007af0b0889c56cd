"""The answer of a model, put together from the events of its stream."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from soma.model.v1 import message_pb2 as model
from soma.model.v1.model_service_pb2 import GenerateResponse, GenerationFinished, GenerationStarted
from soma.orchestrator.v1.chat_service_pb2 import ChatFinished, ChatResponse, ChatStarted

from somamesh.failures import cut_off, from_stream_error
from somamesh.logprobs import TokenLogprob, from_logprobs
from somamesh.messages import Message, ToolCall
from somamesh.policies import Notice, from_notice

FINISH_REASONS: dict[int, str] = {
    model.FINISH_REASON_STOP: "stop",
    model.FINISH_REASON_LENGTH: "length",
    model.FINISH_REASON_TOOL_CALLS: "tool_calls",
    model.FINISH_REASON_CONTENT_FILTER: "content_filter",
}


@dataclass(frozen=True, slots=True)
class Usage:
    """The tokens that a call used."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer.

    Attributes:
        id: the id of the turn, also in its usage record.
        tool_calls: functions the model asks to call.
        conversation: id of the conversation that remembers it; empty when none does.
        finish_reason: `stop`, `length`, `tool_calls` or `content_filter`.
        sources: keys of the memories that it quotes or was given.
        notices: the decisions of policy about the turn.
        time_to_first_token: seconds.
        duration: seconds.
        logprobs: the tokens and their probabilities; empty unless `top_logprobs` was set.
        dropped_params: options that the provider does not support and that `drop_params` left out.
    """

    id: str
    text: str
    tool_calls: tuple[ToolCall, ...]
    model: str
    conversation: str
    finish_reason: str
    usage: Usage
    sources: tuple[str, ...]
    notices: tuple[Notice, ...]
    time_to_first_token: float
    duration: float
    logprobs: tuple[TokenLogprob, ...] = ()
    dropped_params: tuple[str, ...] = ()

    @property
    def message(self) -> Message:
        """The answer as a message, to send with the next question when no conversation remembers it."""
        return Message("assistant", self.text, tool_calls=self.tool_calls)


def from_usage(usage: model.Usage) -> Usage:
    """Convert the token counts of the contract."""
    return Usage(usage.prompt_tokens, usage.completion_tokens, usage.total_tokens)


@dataclass(slots=True)
class Turn:
    """Collects the events of one turn as they arrive."""

    request_id: str
    _texts: list[str] = field(default_factory=list)
    _logprobs: list[TokenLogprob] = field(default_factory=list)
    _calls: dict[int, model.ToolCall] = field(default_factory=dict)
    _notices: list[Notice] = field(default_factory=list)
    _started: ChatStarted | GenerationStarted | None = None
    _finished: ChatFinished | GenerationFinished | None = None

    def take(self, event: ChatResponse | GenerateResponse) -> str | None:
        """Take one event and return the text that it adds, or None.

        Raises:
            APIError: the event reports that the turn failed.
        """
        kind = event.WhichOneof("payload")
        if kind == "delta":
            self._texts.append(event.delta.text)
            self._logprobs.extend(from_logprobs(event.delta.logprobs))
            for piece in event.delta.tool_calls:
                call = self._calls.setdefault(piece.index, model.ToolCall())
                call.call_id = call.call_id or piece.call_id
                call.name = call.name or piece.name
                call.arguments += piece.arguments
            return event.delta.text or None
        if kind == "started":
            self._started = event.started
        elif kind == "finished":
            self._finished = event.finished
        elif kind == "policy" and isinstance(event, ChatResponse):
            self._notices.append(from_notice(event.policy))
        elif kind == "error":
            raise from_stream_error(event.error, self.request_id)
        return None

    def end(self) -> None:
        """Check that the answer is complete, when no more events come.

        Raises:
            UnavailableError: the stream ended before the answer did.
        """
        if self._finished is None or self._started is None:
            raise cut_off(self.request_id)

    def answer(self) -> Answer:
        """Return the whole answer.

        Raises:
            UnavailableError: the stream ended before the answer did.
        """
        started, finished = self._started, self._finished
        if started is None or finished is None:
            raise cut_off(self.request_id)
        chat = started if isinstance(started, ChatStarted) else None
        given = () if chat is None else chat.sources
        return Answer(
            id=started.generation_id if isinstance(started, GenerationStarted) else started.chat_id,
            text="".join(self._texts),
            tool_calls=tuple(
                ToolCall(call.call_id, call.name, call.arguments) for _, call in sorted(self._calls.items())
            ),
            model=started.model,
            conversation="" if chat is None else chat.conversation_id,
            finish_reason=FINISH_REASONS.get(finished.finish_reason, "stop"),
            usage=from_usage(finished.usage),
            sources=_keys(finished.sources or given),
            notices=tuple(self._notices),
            time_to_first_token=finished.time_to_first_token_seconds,
            duration=finished.duration_seconds,
            logprobs=tuple(self._logprobs),
            dropped_params=tuple(started.dropped_params),
        )


def _keys(sources: Iterable[model.Source]) -> tuple[str, ...]:
    return tuple(source.key for source in sources)
