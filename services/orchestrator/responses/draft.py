"""A response while it is made of a turn: its events, and its record if it is stored."""

from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from dataclasses import dataclass

import structlog
from soma.orchestrator.v1 import chat_service_pb2 as chat
from soma.orchestrator.v1.response_service_pb2 import CreateResponseRequest, CreateResponseResponse

from services.mesh.call import errors
from services.orchestrator.responses.response import ResponseBuilder
from services.orchestrator.responses.store import ResponseRecord

log = structlog.get_logger("orchestrator")

Events = AsyncGenerator[CreateResponseResponse, None]

_STARTING = ("started", "answer")
_ENDING = ("finished", "answer")


@dataclass(frozen=True, slots=True)
class Source:
    """The request of a response as it is stored, with its input alone, and the turn that answers it."""

    request: CreateResponseRequest
    turn: AsyncGenerator[chat.ChatResponse, None]


class Draft:
    """A response that is not finished.

    Args:
        record: the response's record in the store; None when the response is not stored.
        early: whether the response begins before its turn does.
    """

    def __init__(self, response: ResponseBuilder, record: ResponseRecord | None, *, early: bool) -> None:
        self._response = response
        self._record = record
        self._early = early
        self._begun = False
        self._sequence = 0

    @property
    def begun(self) -> bool:
        """Whether the response has begun; if it is stored, its record exists then."""
        return self._begun

    async def events(self, source: Source) -> Events:
        """The events of the response up to `finished`, each of them stored before it is handed out.

        Raises:
            MeshError: the turn failed, or the response cannot be stored.
        """
        if self._early:
            yield await self._begin(source.request)
        async with aclosing(source.turn) as turn:
            async for event in turn:
                kind = event.WhichOneof("payload")
                if kind in _STARTING:
                    self._response.started(event.started if kind == "started" else event.answer.started)
                    if not self._begun:
                        yield await self._begin(source.request)
                for each in self._following(kind, event):
                    self._numbered(each)
                    if self._record is not None:
                        await self._record.add_event(each)
                    yield each
                if kind in _ENDING:
                    if self._record is not None:
                        await self._record.end(self._response.response)
                    yield self._numbered(self._response.finished())

    def cancelled(self) -> CreateResponseResponse:
        """The last event of a response that was cancelled."""
        return self._numbered(self._response.finished())

    async def store_end(self, error: errors.MeshError, *, cancelled: bool) -> None:
        """Store that the response was cancelled, or else that it failed; what has not begun has no record."""
        if not self._begun:
            return
        if cancelled:
            self._response.cancel()
        else:
            self._response.fail(error)
        if self._record is None:
            return
        try:
            await self._record.end(self._response.response)
        except errors.MeshError as lost:
            # A later reader is told that the response was interrupted.
            log.warning("the end of a response is not kept", error=lost.message)

    async def _begin(self, request: CreateResponseRequest) -> CreateResponseResponse:
        if self._record is not None:
            await self._record.begin(request, self._response.response)
        self._begun = True
        created = self._numbered(self._response.created())
        if self._record is not None:
            await self._record.add_event(created)
        return created

    def _following(self, kind: str | None, event: chat.ChatResponse) -> Iterator[CreateResponseResponse]:
        """The events that follow from an event of the turn, without those of the beginning and the end."""
        if kind == "delta":
            yield from self._response.add(event.delta)
        elif kind == "policy":
            yield CreateResponseResponse(policy=event.policy)
        elif kind == "heartbeat":
            yield CreateResponseResponse(heartbeat=event.heartbeat)
        elif kind == "finished":
            yield from self._response.finish(event.finished)
        elif kind == "answer":
            for notice in event.answer.policy:
                yield CreateResponseResponse(policy=notice)
            yield from self._response.add(event.answer.delta)
            yield from self._response.finish(event.answer.finished)

    def _numbered(self, event: CreateResponseResponse) -> CreateResponseResponse:
        event.sequence = self._sequence
        self._sequence += 1
        return event
