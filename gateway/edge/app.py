"""A protocol as an ASGI application: authenticates a request, runs it as that principal, and states how it failed."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from time import monotonic

import structlog
from starlette.types import Receive, Scope, Send

from gateway.edge.failure import Failure
from gateway.edge.headers import Headers
from gateway.edge.metrics import answered
from gateway.edge.reply import Reply
from gateway.edge.routes import UNKNOWN, Route, Routes, Visit, unknown_path, wrong_method
from gateway.edge.tracing import RequestTracing
from services.mesh.call.authenticator import Authenticator
from services.mesh.call.call import Call, run_as
from services.mesh.call.errors import MeshError
from services.mesh.call.interceptors.errors import translate
from services.mesh.surfaces.surface import Space

log = structlog.get_logger("edge")


@dataclass(frozen=True, slots=True)
class Conventions:
    """What the clients of a protocol expect of every answer.

    Attributes:
        failure: states an error.
        unknown: what a path that nobody has is answered.
        elapsed: the header that says how many milliseconds an answer took to begin.
    """

    failure: Callable[[MeshError], Failure]
    unknown: Space
    elapsed: bytes


class Application:
    """Serves the paths of one protocol."""

    def __init__(
        self,
        authenticator: Authenticator,
        tracing: RequestTracing,
        routes: Iterable[Route],
        conventions: Conventions,
    ) -> None:
        self._authenticator = authenticator
        self._tracing = tracing
        self._routes = Routes(routes)
        self._conventions = conventions

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request (ASGI's `http` scope, the only one a process serves)."""
        headers = Headers(scope["headers"])
        reply = Reply(send, headers.raw(b"x-request-id"), self._conventions.elapsed)
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
            failed = self._conventions.failure(error)
            await visit.reply.fail(failed, error)
            return failed.status
        return visit.reply.status

    async def _answer(self, scope: Scope, routes: Sequence[Route], visit: Visit, call: Call) -> None:
        if not routes:
            raise unknown_path(self._conventions.unknown, scope["method"], scope["path"])
        route = next((each for each in routes if each.method == scope["method"]), None)
        if route is None:
            raise wrong_method(scope["method"], scope["path"], routes)
        headers = visit.headers
        who = await self._authenticator.authenticate(headers.text(b"authorization"), headers.text(b"x-api-key"))
        with run_as(who, trace=call.trace) as served:
            served.span = call.span
            await route.handler(visit)
