"""`/v1/responses`: responses of a ResponseService, as objects or as streams of events."""

from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Annotated, Literal, Protocol

import orjson
from pydantic import Field
from soma.orchestrator.v1.response_service_pb2 import (
    CancelResponseRequest,
    CreateResponseResponse,
    DeleteResponseRequest,
    GetResponseRequest,
    Response,
    WatchResponseRequest,
)
from typing_extensions import TypedDict

from gateway.edge.disconnect import CancelOnDisconnect
from gateway.edge.media import Holder, held
from gateway.edge.metrics import FIRST_DELTA
from gateway.edge.openai.extension import NOTHING, Findings
from gateway.edge.openai.query import Number, QueryReader, includes
from gateway.edge.openai.response_events import DONE, ResponseEvents
from gateway.edge.openai.response_object import response_object
from gateway.edge.openai.response_request import ENCRYPTED, ResponseAsk, read_response_request
from gateway.edge.relaying import cut, relayed
from gateway.edge.reply import FailureEvent, Reply
from gateway.edge.request_model import strict
from services.mesh.call.call import principal
from services.mesh.call.errors import MeshError
from services.mesh.call.spans import annotate
from services.mesh.transport.departure import Departure

if TYPE_CHECKING:
    from soma.orchestrator.v1.response_service_pb2_grpc import ResponseServiceAsyncStub

Events = AsyncIterator[CreateResponseResponse]
Flag = Literal["true", "false"]


@strict
class Retrieval(TypedDict, total=False):
    """The query parameters of a request for a stored response."""

    include: str
    includes: Annotated[str, Field(alias="include[]")]
    include_obfuscation: Flag
    starting_after: Annotated[Number, Field(ge=0, le=2**31 - 1)]
    stream: Flag


RETRIEVAL = QueryReader(Retrieval)


class Responses:
    """Answers requests about responses.

    Args:
        timeout: maximum seconds to make a response or to send its events.
        patience: maximum seconds of any other request.
    """

    def __init__(self, responses: "ResponseServiceAsyncStub", blobs: Holder, timeout: float, patience: float) -> None:
        self._responses = responses
        self._blobs = blobs
        self._timeout = timeout
        self._patience = patience

    async def create(self, body: bytes | bytearray, request_id: str, departure: Departure, reply: Reply) -> None:
        """Make a response; `request_id` is the same for repetitions of the request.

        Raises:
            MeshError: the request is wrong, the turn failed, or the client left (Cancelled).
            MeshError: the turn failed in another service.
        """
        ask = read_response_request(body)
        # A body with pictures is large, and the answer may take minutes.
        del body
        ask.request.request_id = request_id
        async with held(ask.inline, self._blobs, principal().tenant_id):
            last, whole, findings = await self._make(ask, departure, reply)
        if whole is None:
            await reply.end(last)
        else:
            await reply.json(200, orjson.dumps(response_object(whole, findings, encrypted=ask.encrypted)))

    async def _make(
        self, ask: ResponseAsk, departure: Departure, reply: Reply
    ) -> tuple[bytes, Response | None, Findings]:
        """The last event of a stream, or the whole response; and what the field `soma` says."""
        call = self._responses.CreateResponse(ask.request, timeout=self._timeout)
        findings = Findings(ask.extension, list(ask.dropped))
        whole: Response | None = None
        last = b""
        try:
            async with CancelOnDisconnect(departure):
                if ask.stream:
                    made = ResponseEvents(findings, encrypted=ask.encrypted, obfuscated=ask.obfuscated)
                    last = await send_events(aiter(call), made, findings, reply) + DONE
                else:
                    whole = await _collect(aiter(call), ask, findings)
        finally:
            call.cancel()
        return last, whole, findings

    async def retrieve(self, response_id: str, query: bytes, departure: Departure, reply: Reply) -> None:
        """Answer with a stored response, or if `stream` is set with its events after the number `starting_after`.

        Raises:
            InvalidArgument: a query parameter is not valid; the error names it.
            MeshError: the response does not exist, or `stream` is set and it was not made in the background.
        """
        asked = RETRIEVAL.query(query)
        encrypted = includes(query, ENCRYPTED)
        if asked.get("stream") == "true":
            obfuscated = asked.get("include_obfuscation") == "true"
            after = asked.get("starting_after", -1)
            made = ResponseEvents(Findings(NOTHING), after, encrypted=encrypted, obfuscated=obfuscated)
            await self._watch(response_id, made, departure, reply)
            return
        found = await self._responses.GetResponse(GetResponseRequest(response_id=response_id), timeout=self._patience)
        await _send(found.response, reply, encrypted=encrypted)

    async def _watch(self, response_id: str, made: ResponseEvents, departure: Departure, reply: Reply) -> None:
        """Send the events that are made; their numbers count all events of the response."""
        call = self._responses.WatchResponse(WatchResponseRequest(response_id=response_id), timeout=self._timeout)
        last: bytes | None = None
        try:
            async with CancelOnDisconnect(departure):
                async for watched in call:
                    event = CreateResponseResponse.FromString(watched.SerializeToString())
                    if event.HasField("error"):
                        raise relayed(event.error)
                    if not reply.status:
                        # If watching fails, the response may still go on, so no event says that the response failed.
                        await reply.begin_events()
                    data = made.of(event)
                    if event.HasField("finished"):
                        last = data
                        break
                    if data:
                        await reply.event(data)
        finally:
            call.cancel()
        if last is None:
            raise cut()
        await reply.end(last + DONE)

    async def delete(self, response_id: str, reply: Reply) -> None:
        """Delete a stored response."""
        asked = DeleteResponseRequest(response_id=response_id)
        gone = await self._responses.DeleteResponse(asked, timeout=self._patience)
        await reply.json(200, orjson.dumps({"id": gone.response_id, "object": "response", "deleted": True}))

    async def cancel(self, response_id: str, reply: Reply) -> None:
        """Cancel a response that is being generated."""
        asked = CancelResponseRequest(response_id=response_id)
        cancelled = await self._responses.CancelResponse(asked, timeout=self._patience)
        await _send(cancelled.response, reply)


async def _send(response: Response, reply: Reply, *, encrypted: bool = False) -> None:
    await reply.json(200, orjson.dumps(response_object(response, Findings(NOTHING), encrypted=encrypted)))


class EventReply(Protocol):
    """A reply that may be a stream of events."""

    status: int

    @property
    def seconds(self) -> float:
        """Seconds since the request arrived."""
        ...

    async def begin_events(self, failure_event: FailureEvent) -> None:
        """Begin a stream; `failure_event` makes its last event if it fails."""
        ...

    async def event(self, event: bytes) -> None:
        """Send an event."""
        ...


class StreamedEvents(Protocol):
    """Makes the events of a stream, in the form in which they are sent."""

    def of(self, event: CreateResponseResponse) -> bytes:
        """The events for one event of the contract; there may be none."""
        ...

    def failed(self, error: MeshError) -> bytes:
        """The last events of a response that failed while it was streamed."""
        ...


async def send_events(
    events: Events,
    made: StreamedEvents,
    findings: Findings,
    reply: EventReply,
    seen: Callable[[CreateResponseResponse], CreateResponseResponse] | None = None,
) -> bytes:
    """Send the events as they arrive; return the last one, which the caller sends.

    `seen` gets the first event and the last one of a response, and returns them as the client is to see them.

    Raises:
        MeshError: the response failed, or it was cut off.
    """
    waiting = True
    async for event in events:
        kind = event.WhichOneof("payload")
        if kind == "error":
            raise relayed(event.error)
        if kind == "policy":
            findings.notices.append(event.policy)
            continue
        if not reply.status:
            await reply.begin_events(made.failed)
        if kind in ("created", "finished"):
            if seen is not None:
                event = seen(event)
            _find(findings, event.created if kind == "created" else event.finished)
        elif waiting and kind in ("delta", "reasoning", "arguments"):
            FIRST_DELTA.observe(reply.seconds)
            waiting = False
        data = made.of(event)
        if kind == "finished":
            _annotate(event.finished)
            return data
        await reply.event(data)
    raise cut()


async def _collect(events: Events, ask: ResponseAsk, findings: Findings) -> Response:
    """The complete response; a response in the background is returned as soon as it has begun."""
    async for event in events:
        kind = event.WhichOneof("payload")
        if kind == "error":
            raise relayed(event.error)
        if kind == "policy":
            findings.notices.append(event.policy)
        elif kind == "finished" or (kind == "created" and ask.request.settings.background):
            response = event.created if kind == "created" else event.finished
            _find(findings, response)
            _annotate(response)
            return response
    raise cut()


def _find(findings: Findings, response: Response) -> None:
    findings.sources = response.sources
    findings.drop(response.dropped_params)


def _annotate(response: Response) -> None:
    """GenAI attributes by OpenTelemetry's semantic conventions."""
    annotate(
        gen_ai__operation__name="chat",
        gen_ai__response__model=response.model,
        gen_ai__response__id=response.response_id,
        gen_ai__usage__input_tokens=response.usage.prompt_tokens,
        gen_ai__usage__output_tokens=response.usage.completion_tokens,
    )
