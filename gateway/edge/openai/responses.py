"""`/v1/responses`: responses of a ResponseService, as objects or as streams of events."""

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import orjson
from soma.orchestrator.v1.response_service_pb2 import (
    CancelResponseRequest,
    CreateResponseResponse,
    DeleteResponseRequest,
    GetResponseRequest,
    Response,
    WatchResponseRequest,
)
from starlette.types import Receive

from gateway.edge.departure import Departure
from gateway.edge.metrics import FIRST_DELTA
from gateway.edge.openai.extension import NOTHING, Findings
from gateway.edge.openai.query import Query
from gateway.edge.openai.response_events import ResponseEvents
from gateway.edge.openai.response_object import response_object
from gateway.edge.openai.response_request import ResponseAsk, read_response_request
from gateway.edge.openai.values import unsupported
from gateway.edge.relaying import cut, relayed
from gateway.edge.reply import Reply
from services.mesh.call.spans import annotate

if TYPE_CHECKING:
    from soma.orchestrator.v1.response_service_pb2_grpc import ResponseServiceAsyncStub

Events = AsyncIterator[CreateResponseResponse]
# What a response may be retrieved with.
MOST_EVENTS = 2**31 - 1
GETTING = ("include", "include[]", "include_obfuscation", "starting_after", "stream")


class Responses:
    """Answers requests about responses; `patience` is how long one that makes none may take."""

    def __init__(self, responses: "ResponseServiceAsyncStub", timeout: float, patience: float) -> None:
        self._responses = responses
        self._timeout = timeout
        self._patience = patience

    async def create(self, body: bytes | bytearray, request_id: str, receive: Receive, reply: Reply) -> None:
        """Make a response; `request_id` is the same for repetitions of the request.

        Raises:
            MeshError: the request is wrong, the turn failed, or the client left (Cancelled).
            MeshError: the turn failed in another service.
        """
        ask = read_response_request(body)
        ask.request.request_id = request_id
        call = self._responses.CreateResponse(ask.request, timeout=self._timeout)
        findings = Findings(ask.extension, list(ask.dropped))
        whole: Response | None = None
        last = b""
        try:
            async with Departure(receive):
                if ask.stream:
                    last = await _stream(aiter(call), findings, reply)
                else:
                    whole = await _collect(aiter(call), ask, findings)
        finally:
            call.cancel()
        # Sent when nobody waits on `receive` any more: a server may report an ended answer as a disconnect.
        if whole is None:
            await reply.end(last)
        else:
            await reply.json(200, orjson.dumps(response_object(whole, findings)))

    async def retrieve(self, response_id: str, query: bytes, receive: Receive, reply: Reply) -> None:
        """Answer with a stored response; with `stream`, with its events, from behind the one numbered `starting_after`.

        Raises:
            InvalidArgument: names the query parameter at fault.
            MeshError: there is no such response, or it is to be streamed and was not made in the background.
        """
        asked = Query(query, GETTING)
        if asked.boolean("include_obfuscation"):
            unsupported("include_obfuscation")
        if asked.boolean("stream"):
            await self._watch(response_id, asked.integer("starting_after", -1, 0, MOST_EVENTS), receive, reply)
            return
        found = await self._responses.GetResponse(GetResponseRequest(response_id=response_id), timeout=self._patience)
        await _send(found.response, reply)

    async def _watch(self, response_id: str, after: int, receive: Receive, reply: Reply) -> None:
        """Send the events numbered above `after`, as their numbers follow from all that came before."""
        made = ResponseEvents(Findings(NOTHING), after)
        call = self._responses.WatchResponse(WatchResponseRequest(response_id=response_id), timeout=self._timeout)
        last: bytes | None = None
        try:
            async with Departure(receive):
                async for watched in call:
                    event = CreateResponseResponse.FromString(watched.SerializeToString())
                    if event.HasField("error"):
                        raise relayed(event.error)
                    if not reply.status:
                        # What fails here is the watching: the response may go on, so its own event of failure is none.
                        await reply.begin_events()
                    told = b"".join(made.of(event))
                    if event.HasField("finished"):
                        last = told
                        break
                    if told:
                        await reply.event(told)
        finally:
            call.cancel()
        if last is None:
            raise cut()
        await reply.end(last)

    async def delete(self, response_id: str, reply: Reply) -> None:
        """Forget a stored response."""
        asked = DeleteResponseRequest(response_id=response_id)
        gone = await self._responses.DeleteResponse(asked, timeout=self._patience)
        await reply.json(200, orjson.dumps({"id": gone.response_id, "object": "response", "deleted": True}))

    async def cancel(self, response_id: str, reply: Reply) -> None:
        """Stop a response that is being made."""
        asked = CancelResponseRequest(response_id=response_id)
        cancelled = await self._responses.CancelResponse(asked, timeout=self._patience)
        await _send(cancelled.response, reply)


async def _send(response: Response, reply: Reply) -> None:
    await reply.json(200, orjson.dumps(response_object(response, Findings(NOTHING))))


async def _stream(events: Events, findings: Findings, reply: Reply) -> bytes:
    """Send events as they come; returns the last one, which is not sent yet."""
    made = ResponseEvents(findings)
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
            _find(findings, event.created if kind == "created" else event.finished)
        elif waiting and kind == "delta":
            FIRST_DELTA.observe(reply.seconds)
            waiting = False
        told = b"".join(made.of(event))
        if kind == "finished":
            _annotate(event.finished)
            return told
        await reply.event(told)
    raise cut()


async def _collect(events: Events, ask: ResponseAsk, findings: Findings) -> Response:
    """The response, once it is whole; one made in the background, as soon as it is begun."""
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
