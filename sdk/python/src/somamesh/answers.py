"""The answer of a model, put together from the events of its stream."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from soma.model.v1 import message_pb2 as model
from soma.model.v1.model_service_pb2 import (
    GenerateResponse,
    GenerationAnswer,
    GenerationFinished,
    GenerationStarted,
)
from soma.orchestrator.v1.chat_service_pb2 import ChatAnswer, ChatFinished, ChatResponse, ChatStarted

from somamesh.failures import cut_off, from_stream_error
from somamesh.logprobs import TokenLogprob, from_logprobs
from somamesh.messages import Message, ToolCall
from somamesh.parts import Citation, Reasoning, Text, from_citations
from somamesh.policies import Notice, from_notice

FINISH_REASONS: dict[int, str] = {
    model.FINISH_REASON_STOP: "stop",
    model.FINISH_REASON_LENGTH: "length",
    model.FINISH_REASON_TOOL_CALLS: "tool_calls",
    model.FINISH_REASON_CONTENT_FILTER: "content_filter",
}


@dataclass(frozen=True, slots=True)
class Usage:
    """The tokens that a call used.

    Attributes:
        cached_prompt_tokens: how many of the tokens read came from the provider's cache.
        cache_write_prompt_tokens: how many of the tokens read were written to the provider's cache.
        reasoning_tokens: how many of the tokens written were thoughts.
        estimated: a number is estimated, because the provider did not report it.
    """

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    cached_prompt_tokens: int = 0
    cache_write_prompt_tokens: int = 0
    reasoning_tokens: int = 0
    estimated: bool = False


@dataclass(frozen=True, slots=True)
class Event:
    """What one event of a stream adds to the answer.

    Attributes:
        text: the next piece of the text.
        reasoning: the next piece of the thoughts' text.
        citations: places that the text refers to, those of earlier events included.
    """

    text: str = ""
    reasoning: str = ""
    citations: tuple[Citation, ...] = ()


NOTHING = Event()


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
        reasoning: the thoughts of the model, for providers that show or sign them.
        citations: places that the text refers to.
        refusal: the text is the model's refusal to answer. Not every provider marks refusals.
        stop_sequence: the stop sequence that ended the text, when the provider says which.
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
    reasoning: tuple[Reasoning, ...] = ()
    citations: tuple[Citation, ...] = ()
    refusal: bool = False
    stop_sequence: str = ""

    @property
    def message(self) -> Message:
        """The answer as a message, to send with the next question when no conversation remembers it.

        It has the thoughts and the signatures, which some providers want back together with the result of a tool call.
        """
        if not self.reasoning and not self.citations:
            return Message("assistant", self.text, tool_calls=self.tool_calls)
        text = (Text(self.text, self.citations),) if self.text else ()
        return Message("assistant", tool_calls=self.tool_calls, parts=(*self.reasoning, *text))


def from_usage(usage: model.Usage) -> Usage:
    """Convert the token counts of the contract."""
    return Usage(
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        total_tokens=usage.total_tokens,
        cached_prompt_tokens=usage.cached_prompt_tokens,
        cache_write_prompt_tokens=usage.cache_write_prompt_tokens,
        reasoning_tokens=usage.reasoning_tokens,
        estimated=usage.estimated,
    )


@dataclass(slots=True)
class Turn:
    """Collects the events of one turn as they arrive."""

    request_id: str
    _texts: list[str] = field(default_factory=list)
    _logprobs: list[TokenLogprob] = field(default_factory=list)
    _thoughts: dict[int, list[model.ReasoningDelta]] = field(default_factory=dict)
    _calls: dict[int, list[model.ToolCallDelta]] = field(default_factory=dict)
    _citations: list[Citation] = field(default_factory=list)
    _refusal: bool = False
    _notices: list[Notice] = field(default_factory=list)
    _started: ChatStarted | GenerationStarted | None = None
    _finished: ChatFinished | GenerationFinished | None = None

    def take(self, event: ChatResponse | GenerateResponse) -> Event | None:
        """Take one event and return what it adds to the answer, or None.

        Raises:
            APIError: the event reports that the turn failed.
        """
        kind = event.WhichOneof("payload")
        if kind == "delta":
            return self._add(event.delta)
        if kind == "answer":
            return self._take_whole(event.answer)
        if kind == "started":
            self._started = event.started
        elif kind == "finished":
            self._finished = event.finished
        elif kind == "policy" and isinstance(event, ChatResponse):
            self._notices.append(from_notice(event.policy))
        elif kind == "error":
            raise from_stream_error(event.error, self.request_id)
        return None

    def _take_whole(self, answer: ChatAnswer | GenerationAnswer) -> Event:
        # An event without them is not a whole answer.
        if answer.HasField("started") and answer.HasField("finished"):
            self._started, self._finished = answer.started, answer.finished
        if isinstance(answer, ChatAnswer):
            self._notices.extend(map(from_notice, answer.policy))
        return self._add(answer.delta)

    def _add(self, delta: model.Delta) -> Event:
        for thought in delta.reasoning:
            self._thoughts.setdefault(thought.index, []).append(thought)
        for call in delta.tool_calls:
            self._calls.setdefault(call.index, []).append(call)
        self._texts.append(delta.text)
        self._logprobs.extend(from_logprobs(delta.logprobs))
        self._refusal = self._refusal or delta.refusal
        citations = from_citations(delta.citations)
        self._citations.extend(citations)
        reasoning = "".join(thought.text for thought in delta.reasoning)
        return Event(delta.text, reasoning, citations)

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
            tool_calls=tuple(_call(pieces) for _, pieces in sorted(self._calls.items())),
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
            reasoning=tuple(_thought(pieces, started.provider) for _, pieces in sorted(self._thoughts.items())),
            citations=tuple(self._citations),
            refusal=self._refusal,
            stop_sequence=finished.stop_sequence,
        )


def _call(pieces: Sequence[model.ToolCallDelta]) -> ToolCall:
    return ToolCall(
        id=_first(piece.call_id for piece in pieces),
        name=_first(piece.name for piece in pieces),
        arguments="".join(piece.arguments for piece in pieces),
        signature=_first(piece.signature for piece in pieces),
    )


def _thought(pieces: Sequence[model.ReasoningDelta], provider: str) -> Reasoning:
    return Reasoning(
        text="".join(piece.text for piece in pieces),
        signature=_first(piece.signature for piece in pieces),
        redacted=_first(piece.redacted for piece in pieces),
        provider=provider,
        details=_first(piece.details for piece in pieces),
    )


def _first(texts: Iterable[str]) -> str:
    """The first text that is not empty."""
    return next(filter(None, texts), "")


def _keys(sources: Iterable[model.Source]) -> tuple[str, ...]:
    return tuple(source.key for source in sources)
