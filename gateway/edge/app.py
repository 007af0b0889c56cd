"""The edge as an ASGI application: authenticates a request, runs it as that principal, and states how it failed."""

import asyncio

import structlog
from starlette.types import Receive, Scope, Send

from gateway.edge.body import read_body
from gateway.edge.catalogue import Catalogue
from gateway.edge.chat import ChatCompletions
from gateway.edge.failures import failure
from gateway.edge.headers import Headers
from gateway.edge.metrics import DURATION, REQUESTS
from gateway.edge.reply import Reply
from gateway.edge.routes import UNKNOWN, Route, Routes, Visit, unknown_url, wrong_method
from gateway.edge.settings import EdgeSettings
from gateway.edge.tracing import RequestTracing
from services.mesh.authenticator import Authenticator
from services.mesh.call import Call, run_as
from services.mesh.interceptors.errors import translate

log = structlog.get_logger("edge")


class Edge:
    """Serves OpenAI's paths over the mesh."""

    def __init__(
        self,
        authenticator: Authenticator,
        chat: ChatCompletions,
        catalogue: Catalogue,
        tracing: RequestTracing,
        settings: EdgeSettings,
    ) -> None:
        self._authenticator = authenticator
        self._chat = chat
        self._catalogue = catalogue
        self._tracing = tracing
        self._settings = settings
        self._routes = Routes(self._complete, self._list_models, self._retrieve_model)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request (ASGI's `http` scope, the only one a process serves)."""
        headers = Headers(scope["headers"])
        reply = Reply(send, headers.raw(b"x-request-id"))
        route, name = self._routes.find(scope["path"])
        template = route.template if route else UNKNOWN
        call = Call(started=asyncio.get_running_loop().time())
        self._tracing.begin(call, headers.raw(b"traceparent"), scope["method"], template)
        status = 499
        try:
            status = await self._serve(scope, route, Visit(headers, receive, reply, name), call)
        finally:
            self._tracing.end(call, status)
            REQUESTS.labels(template, status).inc()
            DURATION.labels(template).observe(reply.seconds)
            log.info(
                "request",
                route=template,
                method=scope["method"],
                status=status,
                seconds=round(reply.seconds, 4),
                request_id=reply.request_id.decode(),
                trace_id=call.trace_id,
            )

    async def _serve(self, scope: Scope, route: Route | None, visit: Visit, call: Call) -> int:
        """Answer, whatever happens; returns the status to account for, which an error may set after a 200."""
        try:
            await self._answer(scope, route, visit, call)
        except BaseException as exception:
            task = asyncio.current_task()
            # A client that left is `Cancelled` by now: whoever cancels this task is the server, and it is stopping.
            call.draining = task is not None and task.cancelling() > 0
            error = translate(call, exception)
            if error is None:
                raise
            failed = failure(error)
            await visit.reply.fail(failed)
            return failed.status
        return visit.reply.status

    async def _answer(self, scope: Scope, route: Route | None, visit: Visit, call: Call) -> None:
        if route is None:
            raise unknown_url(scope["method"], scope["path"])
        if scope["method"] != route.method:
            raise wrong_method(scope["method"], scope["path"], route)
        headers = visit.headers
        who = await self._authenticator.authenticate(headers.text(b"authorization"), headers.text(b"x-api-key"))
        with run_as(who, trace=call.trace) as served:
            served.span = call.span
            await route.handler(visit)

    async def _complete(self, visit: Visit) -> None:
        limit = self._settings.body_limit_bytes
        body = await read_body(visit.receive, visit.headers.raw(b"content-length"), limit)
        await self._chat.answer(body, visit.receive, visit.reply)

    async def _list_models(self, visit: Visit) -> None:
        await self._catalogue.list_models(visit.reply)

    async def _retrieve_model(self, visit: Visit) -> None:
        await self._catalogue.retrieve(visit.name, visit.reply)
