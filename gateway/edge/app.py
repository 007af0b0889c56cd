"""The ASGI application of a protocol: it authenticates a request, runs it as its caller, and answers errors."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from time import monotonic

import structlog
from starlette.types import Receive, Scope, Send

from gateway.edge.error_response import ErrorResponse
from gateway.edge.headers import SOURCE_HEADER, Headers
from gateway.edge.metrics import answered
from gateway.edge.reply import Reply
from gateway.edge.routes import UNKNOWN, Exchange, Route, Routes, unknown_path, wrong_method
from gateway.edge.tracing import RequestTracing
from services.mesh.call.authenticator import Authenticator, Limiter
from services.mesh.call.call import Call, run_as
from services.mesh.call.errors import MeshError
from services.mesh.call.interceptors.errors import translate
from services.mesh.process.tasks import being_cancelled
from services.mesh.surfaces.surface import Space
from services.mesh.transport.departure import EXTENSION

log = structlog.get_logger("edge")


@dataclass(frozen=True, slots=True)
class Conventions:
    """What the clients of a protocol expect of every answer.

    Attributes:
        error_response: makes the answer to an error of the request with this id.
        unknown: the error of an unknown path.
        elapsed: the header that says after how many milliseconds the answer began; empty for none.
        identity: the headers that have the id of the request.
    """

    error_response: Callable[[MeshError, str], ErrorResponse]
    unknown: Space
    elapsed: bytes
    identity: tuple[bytes, ...] = (b"x-request-id",)


class Application:
    """Serves the paths of one protocol."""

    def __init__(
        self,
        authenticator: Authenticator,
        limiter: Limiter,
        tracing: RequestTracing,
        routes: Iterable[Route],
        conventions: Conventions,
    ) -> None:
        self._authenticator = authenticator
        self._limiter = limiter
        self._tracing = tracing
        self._routes = Routes(routes)
        self._conventions = conventions

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request (ASGI's `http` scope, the only one a process serves)."""
        headers = Headers(scope["headers"])
        reply = Reply(send, headers.raw(b"x-request-id"), self._conventions.elapsed, self._conventions.identity)
        routes, name = self._routes.find(scope["path"])
        template = routes[0].template if routes else UNKNOWN
        call = Call(started=monotonic())
        self._tracing.begin(call, headers.raw(b"traceparent"), scope["method"], template)
        status = 499
        try:
            departure = scope["extensions"][EXTENSION]
            exchange = Exchange(headers, receive, departure, reply, name, scope.get("query_string", b""))
            status = await self._serve(scope, routes, exchange, call)
        finally:
            reply.barrier.open()
            # What this turn of the event loop sends is sent at its end: the client does not wait for the log.
            asyncio.get_running_loop().call_soon(
                self._ended, scope["method"], template, status, reply.seconds, reply.request_id, call
            )

    def _ended(self, method: str, template: str, status: int, seconds: float, request_id: bytes, call: Call) -> None:
        """Trace, count and log a request that has ended."""
        self._tracing.end(call, status)
        answered(template, status, seconds)
        log.info(
            "request",
            route=template,
            method=method,
            status=status,
            seconds=round(seconds, 4),
            request_id=request_id.decode(),
            trace_id=call.trace_id,
        )

    async def _serve(self, scope: Scope, routes: Sequence[Route], exchange: Exchange, call: Call) -> int:
        """Answer, also with an error; returns the final status, which may be an error after a 200 was sent."""
        try:
            await self._answer(scope, routes, exchange, call)
        except BaseException as exception:
            # When a client leaves, its request ends with `Cancelled`. Only a stop of the server cancels this task.
            call.draining = being_cancelled()
            error = translate(call, exception)
            if error is None:
                raise
            failed = self._conventions.error_response(error, exchange.reply.request_id.decode())
            await exchange.reply.fail(failed, error)
            return failed.status
        return exchange.reply.status

    async def _answer(self, scope: Scope, routes: Sequence[Route], exchange: Exchange, call: Call) -> None:
        if not routes:
            raise unknown_path(self._conventions.unknown, scope["method"], scope["path"])
        route = next((each for each in routes if each.method == scope["method"]), None)
        if route is None:
            raise wrong_method(scope["method"], scope["path"], routes)
        headers = exchange.headers
        who = await self._authenticator.authenticate(
            headers.text(b"authorization"), headers.text(b"x-api-key"), headers.text(SOURCE_HEADER)
        )
        spent = await self._limiter.spend(who, "read" if scope["method"] == "GET" else "execute")
        if spent is not None:
            exchange.reply.limited(spent)
        with run_as(who, trace=call.trace, barrier=exchange.reply.barrier) as served:
            served.span = call.span
            await route.handler(exchange)
