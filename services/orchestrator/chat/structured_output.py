"""Structured output: a model's answer is checked against the response format, and the model may correct it once.

A decorator of `Models`. Text that must be JSON is held back until it is complete, because a piece that was sent cannot
be taken back; until then heartbeats show that the stream is alive.
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from time import monotonic
from typing import Protocol

from soma.errors.v1 import reasons
from soma.mesh.v1.stream_pb2 import Heartbeat
from soma.model.v1 import message_pb2
from soma.model.v1 import model_service_pb2 as pb

from services.mesh.call import errors
from services.orchestrator.chat.response_format import Check, checker

Events = AsyncGenerator[pb.GenerateResponse, None]

_SILENCE_SECONDS = 5.0
_FORMAT = "response_format"


class Generator(Protocol):
    """The interface of `Models` and of its decorator."""

    def generate(self, request: pb.GenerateRequest) -> Events:
        """The events of one generation."""


class StructuredModels:
    """Generates text that fits the request's response format."""

    def __init__(self, models: Generator) -> None:
        self._models = models

    def generate(self, request: pb.GenerateRequest) -> Events:
        """The events of one generation whose text fits the response format.

        Raises:
            InvalidArgument: INVALID_JSON_SCHEMA: the schema of the response format is not valid.
            Internal: OUTPUT_INVALID: the model's second answer does not fit either.
            MeshError: as `Models.generate`.
        """
        check = checker(request.options.response_format)
        return self._models.generate(request) if check is None else self._checked(request, check)

    async def _checked(self, request: pb.GenerateRequest, check: Check) -> Events:
        first = _HeldAnswer(check)
        async with aclosing(first.read(self._models.generate(request))) as events:
            async for event in events:
                yield event
        if first.problem is None:
            for event in first.held():
                yield event
            return
        second = _HeldAnswer(check)
        repair = _repair(request, first.text, first.problem)
        async with aclosing(second.read(self._models.generate(repair))) as events:
            async for event in events:
                if not event.HasField("started"):
                    yield event
        if second.problem is not None:
            raise errors.Internal(
                f"the model's answer does not fit the response format, nor does its repair: {second.problem}",
                reason=reasons.OUTPUT_INVALID,
            )
        second.add_usage(first)
        for event in second.held():
            yield event


class _HeldAnswer:
    """One generation whose text is held back; `problem` says what is wrong with the text, if anything is."""

    def __init__(self, check: Check) -> None:
        self._check = check
        self._events: list[pb.GenerateResponse] = []
        self._passes = False
        self._finished: pb.GenerationFinished | None = None
        self.text = ""
        self.problem: str | None = None

    async def read(self, events: Events) -> Events:
        """The events that need not be held back; these are all events once the model calls a tool."""
        last_sent = monotonic()
        async with aclosing(events):
            async for event in events:
                kind = event.WhichOneof("payload")
                if kind == "started":
                    self._passes = _FORMAT in event.started.dropped_params
                elif kind == "answer":
                    self._passes = _FORMAT in event.answer.started.dropped_params or bool(event.answer.delta.tool_calls)
                elif kind == "delta" and event.delta.tool_calls and not self._passes:
                    self._passes = True
                    for earlier in self.held():
                        yield earlier
                    self._events.clear()
                if self._passes or kind in ("started", "heartbeat"):
                    last_sent = monotonic()
                    yield event
                    continue
                self._events.append(event)
                if kind == "finished":
                    self._check_text([each.delta for each in self._events if each.HasField("delta")], event.finished)
                elif kind == "answer":
                    self._check_text([event.answer.delta], event.answer.finished)
                elif monotonic() - last_sent > _SILENCE_SECONDS:
                    last_sent = monotonic()
                    yield pb.GenerateResponse(heartbeat=Heartbeat())

    def held(self) -> list[pb.GenerateResponse]:
        """The events that were held back."""
        return self._events

    def add_usage(self, attempt: "_HeldAnswer") -> None:
        """Add the tokens of an earlier attempt."""
        if self._finished is None or attempt._finished is None:
            return
        usage, earlier = self._finished.usage, attempt._finished.usage
        usage.prompt_tokens += earlier.prompt_tokens
        usage.completion_tokens += earlier.completion_tokens
        usage.total_tokens += earlier.total_tokens
        usage.cached_prompt_tokens += earlier.cached_prompt_tokens
        usage.reasoning_tokens += earlier.reasoning_tokens
        usage.cache_write_prompt_tokens += earlier.cache_write_prompt_tokens
        usage.estimated |= earlier.estimated

    def _check_text(self, deltas: Sequence[message_pb2.Delta], finished: pb.GenerationFinished) -> None:
        self._finished = finished
        self.text = "".join(delta.text for delta in deltas)
        refused = any(delta.refusal for delta in deltas)
        # A refusal, and an answer that was cut short or withheld, need not fit: their events say what they are.
        if finished.finish_reason == message_pb2.FINISH_REASON_STOP and not refused:
            self.problem = self._check(self.text)


def _repair(request: pb.GenerateRequest, text: str, problem: str) -> pb.GenerateRequest:
    """The same request, followed by the answer and by what is wrong with it."""
    repair = pb.GenerateRequest()
    repair.CopyFrom(request)
    if text:
        repair.messages.add(role=message_pb2.ROLE_ASSISTANT, content=text)
    repair.messages.add(
        role=message_pb2.ROLE_USER,
        content=f"That answer is not valid: {problem}. Answer again, with the corrected JSON and nothing else.",
    )
    return repair
