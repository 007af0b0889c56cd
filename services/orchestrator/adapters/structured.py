"""Structured output that holds: what a model writes is checked against what was asked for, and repaired once.

A decorator of `Models`. Text that has to be JSON is held until it is whole, because a piece that was sent cannot be
taken back; heartbeats show that the stream lives meanwhile.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from time import monotonic
from typing import Protocol

from soma.errors.v1 import reasons
from soma.mesh.v1.stream_pb2 import Heartbeat
from soma.model.v1 import message_pb2
from soma.model.v1 import model_service_pb2 as pb

from services.mesh.call import errors
from services.orchestrator.adapters.format import Check, checking

Events = AsyncGenerator[pb.GenerateResponse, None]

_SILENCE_SECONDS = 5.0


class Generator(Protocol):
    """What is decorated, and what the decorator is."""

    def generate(self, request: pb.GenerateRequest) -> Events:
        """The events of one generation."""


class StructuredModels:
    """Generates text that fits the request's response format."""

    def __init__(self, models: Generator) -> None:
        self._models = models

    def generate(self, request: pb.GenerateRequest) -> Events:
        """As `Models.generate`.

        Raises:
            InvalidArgument: the response format's schema is none.
            Internal: the model's second answer does not fit either (`OUTPUT_INVALID`).
        """
        check = checking(request.response_format)
        return self._models.generate(request) if check is None else self._checked(request, check)

    async def _checked(self, request: pb.GenerateRequest, check: Check) -> Events:
        first = _Held(check)
        async with aclosing(first.read(self._models.generate(request))) as events:
            async for event in events:
                yield event
        if first.complaint is None:
            for event in first.released():
                yield event
            return
        second = _Held(check)
        repair = _repair(request, first.text, first.complaint)
        async with aclosing(second.read(self._models.generate(repair))) as events:
            async for event in events:
                if not event.HasField("started"):
                    yield event
        if second.complaint is not None:
            raise errors.Internal(
                f"the model's answer does not fit the response format, nor does its repair: {second.complaint}",
                reason=reasons.OUTPUT_INVALID,
            )
        second.add_usage(first)
        for event in second.released():
            yield event


class _Held:
    """One generation whose text is held back; `complaint` says what is wrong with it."""

    def __init__(self, check: Check) -> None:
        self._check = check
        self._events: list[pb.GenerateResponse] = []
        self._free = False
        self._finished: pb.GenerationFinished | None = None
        self.text = ""
        self.complaint: str | None = None

    async def read(self, events: Events) -> Events:
        """What need not be held, as it comes; once a tool is called there is no text to check, and all may go."""
        shown = monotonic()
        async with aclosing(events):
            async for event in events:
                kind = event.WhichOneof("payload")
                if kind == "started":
                    self._free = "response_format" in event.started.dropped_params
                elif kind == "tool_call" and not self._free:
                    self._free = True
                    for held in self.released():
                        yield held
                    self._events.clear()
                if self._free or kind in ("started", "heartbeat"):
                    shown = monotonic()
                    yield event
                    continue
                self._events.append(event)
                if kind == "finished":
                    self._judge(event.finished)
                elif monotonic() - shown > _SILENCE_SECONDS:
                    shown = monotonic()
                    yield pb.GenerateResponse(heartbeat=Heartbeat())

    def released(self) -> list[pb.GenerateResponse]:
        """What was held."""
        return self._events

    def add_usage(self, before: "_Held") -> None:
        """Count what an earlier attempt cost, too."""
        if self._finished is None or before._finished is None:
            return
        usage, spent = self._finished.usage, before._finished.usage
        usage.prompt_tokens += spent.prompt_tokens
        usage.completion_tokens += spent.completion_tokens
        usage.total_tokens += spent.total_tokens
        usage.cached_prompt_tokens += spent.cached_prompt_tokens
        usage.reasoning_tokens += spent.reasoning_tokens

    def _judge(self, finished: pb.GenerationFinished) -> None:
        self._finished = finished
        self.text = "".join(event.delta.text for event in self._events if event.HasField("delta"))
        refused = any(event.delta.refusal for event in self._events)
        # An answer that was refused, cut short or withheld says so itself.
        if finished.finish_reason == message_pb2.FINISH_REASON_STOP and not refused:
            self.complaint = self._check(self.text)


def _repair(request: pb.GenerateRequest, text: str, complaint: str) -> pb.GenerateRequest:
    """The same question once more, with the answer and what is wrong with it."""
    repair = pb.GenerateRequest()
    repair.CopyFrom(request)
    if text:
        repair.messages.add(role=message_pb2.ROLE_ASSISTANT, content=text)
    repair.messages.add(
        role=message_pb2.ROLE_USER,
        content=f"That answer is not valid: {complaint}. Answer again, with the corrected JSON and nothing else.",
    )
    return repair
