"""One response over a WebSocket: from the client's message to the last event."""

import time
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog
from soma.orchestrator.v1.response_service_pb2 import CreateResponseRequest, CreateResponseResponse, Response

from gateway.edge.disconnect import CancelOnDisconnect
from gateway.edge.error_response import http_status
from gateway.edge.media import Holder, held
from gateway.edge.metrics import answered
from gateway.edge.openai.extension import Findings
from gateway.edge.openai.kept_responses import ConnectionResponses, Kept
from gateway.edge.openai.response_creation import Creation
from gateway.edge.openai.response_events import ResponseEvents
from gateway.edge.openai.response_request import ResponseAsk
from gateway.edge.openai.responses import send_events
from gateway.edge.reply import FailureEvent
from gateway.edge.tracing import RequestTracing
from services.mesh.call.authenticator import Limiter
from services.mesh.call.call import Call, principal, run_as
from services.mesh.call.interceptors.errors import translate
from services.mesh.call.principal import Principal
from services.mesh.process.tasks import being_cancelled
from services.mesh.transport.departure import Departure
from services.mesh.transport.websocket import Wire

if TYPE_CHECKING:
    from soma.orchestrator.v1.response_service_pb2_grpc import ResponseServiceAsyncStub

log = structlog.get_logger("edge")

PATH = "/v1/responses"
# The name in metrics and logs, beside that of the same path over HTTP.
ROUTE = f"WS {PATH}"
_CONTINUABLE = (Response.STATE_COMPLETED, Response.STATE_INCOMPLETE)


@dataclass(frozen=True, slots=True)
class Client:
    """The connection of one client: `authenticate` says who it is now, and `kept` has its unstored responses."""

    wire: Wire
    departure: Departure
    kept: ConnectionResponses
    authenticate: Callable[[], Awaitable[Principal]]
    request_id: str


class TurnReply:
    """The events of one response; `status` is 0 until it begins."""

    __slots__ = ("_started_at", "_wire", "failure_event", "status")

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._started_at = time.perf_counter()
        self.status = 0
        self.failure_event: FailureEvent | None = None

    @property
    def seconds(self) -> float:
        """Seconds since the message was read."""
        return time.perf_counter() - self._started_at

    async def begin_events(self, failure_event: FailureEvent) -> None:
        """Note that the response has begun; `failure_event` makes its last event if it fails."""
        self.status = 200
        self.failure_event = failure_event

    async def event(self, event: bytes) -> None:
        """Send events; waits while the client reads more slowly."""
        await self._wire.write(event)


class ResponseTurns:
    """Makes responses for WebSockets; each takes at most `timeout` seconds."""

    def __init__(
        self,
        responses: "ResponseServiceAsyncStub",
        blobs: Holder,
        limiter: Limiter,
        tracing: RequestTracing,
        timeout: float,
    ) -> None:
        self._responses = responses
        self._blobs = blobs
        self._limiter = limiter
        self._tracing = tracing
        self._timeout = timeout

    async def answer(self, message: bytes, client: Client) -> int:
        """Answer a message with the events of a response or with an error; returns the HTTP status of its end."""
        call = Call(started=time.monotonic())
        self._tracing.begin(call, None, "WS", PATH)
        reply = TurnReply(client.wire)
        status = 499
        try:
            status = await self._serve(message, client, reply, call)
        finally:
            self._tracing.end(call, status)
            answered(ROUTE, status, reply.seconds)
            log.info(
                "request",
                route=PATH,
                method="WS",
                status=status,
                seconds=round(reply.seconds, 4),
                request_id=client.request_id,
                trace_id=call.trace_id,
            )
        return status

    async def _serve(self, message: bytes, client: Client, reply: TurnReply, call: Call) -> int:
        creation = Creation()
        try:
            try:
                who = await client.authenticate()
                await self._limiter.spend(who, "execute")
                with run_as(who, trace=call.trace) as served:
                    served.span = call.span
                    await self._make(creation, message, client, reply)
            except BaseException as exception:
                # When a client leaves, its turn ends with `Cancelled`. Only a stop of the server cancels this task.
                call.draining = being_cancelled()
                error = translate(call, exception)
                if error is None:
                    raise
                await client.kept.evict(creation.previous_response_id)
                await reply.event(reply.failure_event(error) if reply.failure_event else creation.error(error))
                return http_status(error)
        except ConnectionError:
            return 499
        return reply.status

    async def _make(self, creation: Creation, message: bytes, client: Client, reply: TurnReply) -> None:
        try:
            ask = creation.read(message)
        finally:
            client.wire.taken(len(message))
        # A message with pictures is large, and the answer may take minutes.
        del message
        async with client.kept.using(creation.previous_response_id) as earlier, AsyncExitStack() as media:
            media_bytes = sum(len(each.base64) * 3 // 4 for each in ask.inline)
            if ask.inline:
                await media.enter_async_context(held(ask.inline, self._blobs, principal().tenant_id))
            turn = _Turn(ask, creation, earlier)
            last = await self._send(turn, client.departure, reply)
            if turn.unstored and turn.ended is not None:
                held_media = media.pop_all() if ask.inline else None
                kept = Kept(earlier, creation.previous_response_id, turn.own, media_bytes, held_media)
                await client.kept.keep(turn.ended, kept)
            await reply.event(last)

    async def _send(self, turn: "_Turn", departure: Departure, reply: TurnReply) -> bytes:
        """Send the events; return the last one."""
        ask = turn.ask
        findings = Findings(ask.extension, list(ask.dropped))
        made = turn.creation.events(ResponseEvents(findings, encrypted=ask.encrypted, obfuscated=ask.obfuscated))
        if not turn.creation.generate:
            return await send_events(turn.prepared(), made, findings, reply, turn.seen)
        call = self._responses.CreateResponse(turn.request(), timeout=self._timeout)
        try:
            async with CancelOnDisconnect(departure):
                return await send_events(aiter(call), made, findings, reply, turn.seen)
        finally:
            call.cancel()


class _Turn:
    """A request as ResponseService gets it, and the events as the client gets them.

    Attributes:
        own: the input of this response alone.
        ended: the response at its end, if another can continue it.
    """

    def __init__(self, ask: ResponseAsk, creation: Creation, earlier: Kept | None) -> None:
        self.ask = ask
        self.creation = creation
        self._earlier = earlier
        settings = ask.request.settings
        self.unstored = not creation.generate or (settings.HasField("store") and not settings.store)
        self.own = CreateResponseRequest(input=ask.request.input) if self.unstored else ask.request
        self.ended: Response | None = None

    def request(self) -> CreateResponseRequest:
        """The request; what only the WebSocket keeps comes before its own input."""
        request, earlier = self.ask.request, self._earlier
        if earlier is None:
            return request
        whole = CreateResponseRequest(model=request.model, settings=request.settings)
        whole.settings.previous_response_id = earlier.previous_response_id
        for each in earlier.chain():
            whole.input.extend(each.context.input)
        whole.input.extend(request.input)
        return whole

    def seen(self, event: CreateResponseResponse) -> CreateResponseResponse:
        """The first event or the last one, in which the response continues the one that the client named."""
        last = event.HasField("finished")
        if last and event.finished.state in _CONTINUABLE:
            self.ended = event.finished
        if self._earlier is None:
            return event
        named = CreateResponseResponse()
        named.CopyFrom(event)
        response = named.finished if last else named.created
        response.settings.previous_response_id = self.creation.previous_response_id
        return named

    async def prepared(self) -> AsyncGenerator[CreateResponseResponse, None]:
        """The events of a response without an answer."""
        request = self.ask.request
        response = Response(
            response_id=f"resp_{uuid.uuid4().hex}",
            state=Response.STATE_IN_PROGRESS,
            model=request.model,
            settings=request.settings,
        )
        response.settings.store = False
        response.create_time.GetCurrentTime()
        yield CreateResponseResponse(created=response)
        response.state = Response.STATE_COMPLETED
        response.end_time.GetCurrentTime()
        response.usage.SetInParent()
        yield CreateResponseResponse(finished=response)
