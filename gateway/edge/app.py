"""The edge as an ASGI application: authenticates a request, runs it as that principal, and states how it failed."""

import asyncio
from collections.abc import Sequence
from time import monotonic

import structlog
from soma.errors.v1 import reasons
from starlette.types import Receive, Scope, Send

from gateway.edge.body import read_body
from gateway.edge.catalogue import Catalogue
from gateway.edge.chat import ChatCompletions
from gateway.edge.embeddings import Embeddings
from gateway.edge.failures import failure
from gateway.edge.headers import Headers
from gateway.edge.input_items import InputItems
from gateway.edge.metrics import answered
from gateway.edge.repetition import request_id
from gateway.edge.reply import Reply
from gateway.edge.responses import Responses
from gateway.edge.routes import UNKNOWN, Route, Routes, Visit, unknown_url, wrong_method
from gateway.edge.settings import EdgeSettings
from gateway.edge.tracing import RequestTracing
from gateway.edge.ws.sockets import PATH as SOCKET
from services.mesh.call.authenticator import Authenticator
from services.mesh.call.call import Call, run_as
from services.mesh.call.errors import FailedPrecondition, InvalidArgument
from services.mesh.call.interceptors.errors import translate

log = structlog.get_logger("edge")


class Edge:
    """Serves OpenAI's paths over the mesh."""

    def __init__(
        self,
        authenticator: Authenticator,
        chat: ChatCompletions,
        responses: Responses,
        input_items: InputItems,
        embeddings: Embeddings,
        catalogue: Catalogue,
        tracing: RequestTracing,
        settings: EdgeSettings,
    ) -> None:
        self._authenticator = authenticator
        self._chat = chat
        self._responses = responses
        self._input_items = input_items
        self._embeddings = embeddings
        self._catalogue = catalogue
        self._tracing = tracing
        self._settings = settings
        self._routes = Routes(
            (
                Route("POST", "/v1/chat/completions", self._complete),
                Route("POST", "/v1/responses", self._respond),
                Route("GET", "/v1/responses/{response_id}", self._retrieve_response),
                Route("DELETE", "/v1/responses/{response_id}", self._delete_response),
                Route("POST", "/v1/responses/{response_id}/cancel", self._cancel_response),
                Route("GET", "/v1/responses/{response_id}/input_items", self._list_input_items),
                Route("POST", "/v1/embeddings", self._embed),
                Route("GET", "/v1/models", self._list_models),
                Route("GET", "/v1/models/{model}", self._retrieve_model),
                Route("GET", SOCKET, self._refuse_without_upgrade),
            )
        )

    @property
    def routes(self) -> Sequence[Route]:
        """Every path it answers, once for each method."""
        return self._routes.all

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request (ASGI's `http` scope, the only one a process serves)."""
        headers = Headers(scope["headers"])
        reply = Reply(send, headers.raw(b"x-request-id"))
        routes, name = self._routes.find(scope["path"])
        template = routes[0].template if routes else UNKNOWN
        call = Call(started=monotonic())
        self._tracing.begin(call, headers.raw(b"traceparent"), scope["method"], template)
        status = 499
        try:
            status = await self._serve(
                scope, routes, Visit(headers, receive, reply, name, scope.get("query_string", b"")), call
            )
        finally:
            self._tracing.end(call, status)
            answered(template, status, reply.seconds)
            log.info(
                "request",
                route=template,
                method=scope["method"],
                status=status,
                seconds=round(reply.seconds, 4),
                request_id=reply.request_id.decode(),
                trace_id=call.trace_id,
            )

    async def _serve(self, scope: Scope, routes: Sequence[Route], visit: Visit, call: Call) -> int:
        """Answer, whatever happens; returns the status to account for, which an error may set after a 200."""
        try:
            await self._answer(scope, routes, visit, call)
        except BaseException as exception:
            task = asyncio.current_task()
            # A client that left is `Cancelled` by now: whoever cancels this task is the server, and it is stopping.
            call.draining = task is not None and task.cancelling() > 0
            error = translate(call, exception)
            if error is None:
                raise
            failed = failure(error)
            await visit.reply.fail(failed, error)
            return failed.status
        return visit.reply.status

    async def _answer(self, scope: Scope, routes: Sequence[Route], visit: Visit, call: Call) -> None:
        if not routes:
            raise unknown_url(scope["method"], scope["path"])
        route = next((each for each in routes if each.method == scope["method"]), None)
        if route is None:
            raise wrong_method(scope["method"], scope["path"], routes)
        headers = visit.headers
        who = await self._authenticator.authenticate(headers.text(b"authorization"), headers.text(b"x-api-key"))
        with run_as(who, trace=call.trace) as served:
            served.span = call.span
            await route.handler(visit)

    async def _body(self, visit: Visit) -> bytes | bytearray:
        # Unpacked it may be of any size.
        if visit.headers.raw(b"content-encoding") not in (None, b"identity"):
            raise InvalidArgument(
                "Send the request body as it is: no content-encoding is read.", reason=reasons.UNSUPPORTED_ENCODING
            )
        limit = self._settings.body_limit_bytes
        return await read_body(visit.receive, visit.headers.raw(b"content-length"), limit)

    async def _complete(self, visit: Visit) -> None:
        await self._chat.answer(await self._body(visit), _attempt(visit), visit.receive, visit.reply)

    async def _respond(self, visit: Visit) -> None:
        await self._responses.create(await self._body(visit), _attempt(visit), visit.receive, visit.reply)

    async def _retrieve_response(self, visit: Visit) -> None:
        await self._responses.retrieve(visit.name, visit.query, visit.receive, visit.reply)

    async def _delete_response(self, visit: Visit) -> None:
        await self._responses.delete(visit.name, visit.reply)

    async def _cancel_response(self, visit: Visit) -> None:
        await self._responses.cancel(visit.name, visit.reply)

    async def _list_input_items(self, visit: Visit) -> None:
        await self._input_items.list_items(visit.name, visit.query, visit.reply)

    async def _embed(self, visit: Visit) -> None:
        await self._embeddings.answer(await self._body(visit), visit.reply)

    async def _list_models(self, visit: Visit) -> None:
        await self._catalogue.list_models(visit.reply)

    async def _retrieve_model(self, visit: Visit) -> None:
        await self._catalogue.retrieve(visit.name, visit.reply)

    async def _refuse_without_upgrade(self, visit: Visit) -> None:
        message = f"{SOCKET} is a WebSocket: connect to it with a client of that protocol (ws:// or wss://)."
        raise FailedPrecondition(message, reason=reasons.UPGRADE_REQUIRED)


def _attempt(visit: Visit) -> str:
    return request_id(visit.headers.raw(b"idempotency-key"))
