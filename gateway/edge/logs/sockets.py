"""Accepts WebSockets: it authenticates clients, limits their connections, and chooses the close codes."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from urllib.parse import parse_qsl

import redis.asyncio as aioredis
import structlog
from starlette.types import Receive, Scope, Send

from gateway.edge.headers import SOURCE_HEADER, Headers
from gateway.edge.logs.filters import Filters, Refused
from gateway.edge.logs.log_socket import Ended, LogSocket
from gateway.edge.logs.tail import Tails
from gateway.edge.settings import EdgeSettings
from gateway.edge.ws.connection import Connection
from gateway.edge.ws.metrics import CLOSED, OPEN
from gateway.edge.ws.slots import Slots
from services.mesh.call.authenticator import Authenticator
from services.mesh.call.call import run_as
from services.mesh.call.errors import Code, MeshError, PermissionDenied
from services.mesh.call.principal import Principal, uncovered
from services.mesh.transport.websocket import EXTENSION, FAULT, LATER, POLICY

log = structlog.get_logger("edge")

PATH = "/ws/logs"
# A slot expires this long after its connection would have ended for its silence.
_SLOT_MARGIN_SECONDS = 30
_NO_SUCH = b'{"error":{"message":"no such WebSocket","type":"invalid_request_error"}}'
_REFUSALS = frozenset({Code.UNAUTHENTICATED, Code.PERMISSION_DENIED, Code.RESOURCE_EXHAUSTED, Code.INVALID_ARGUMENT})


class LogSockets:
    """Serves `/ws/logs`.

    A refused client gets a connection that is closed at once: a browser can read a close code, but no HTTP status.
    """

    def __init__(
        self, authenticator: Authenticator, tails: Tails, client: aioredis.Redis, settings: EdgeSettings
    ) -> None:
        self._authenticator = authenticator
        self._tails = tails
        self._settings = settings
        seconds = round(settings.socket_silence_seconds) + _SLOT_MARGIN_SECONDS
        self._slots = Slots(client, "sockets", settings.sockets_per_user, settings.sockets, seconds)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection (ASGI's `websocket` scope)."""
        connection = Connection(receive, send, scope["extensions"][EXTENSION])
        if scope["path"] != PATH:
            await connection.refuse(404, _NO_SUCH)
            return
        await connection.accept()
        began = asyncio.get_running_loop().time()
        OPEN.inc()
        try:
            code, reason = await self._serve(scope, connection)
            await connection.close(code, reason)
        finally:
            OPEN.dec()
            CLOSED.labels(connection.closed_with or 0).inc()
            seconds = round(asyncio.get_running_loop().time() - began, 3)
            log.info("socket", route=PATH, code=connection.closed_with, seconds=seconds)

    async def _serve(self, scope: Scope, connection: Connection) -> tuple[int, str]:
        """Serve until the end; returns the code and text to close with, if the client has not closed."""
        try:
            asked = dict(parse_qsl(scope["query_string"].decode("latin-1")))
            authenticate = partial(self._authenticate, Headers(scope["headers"]), asked.pop("token", None))
            await self._hold(authenticate, connection, Filters().changed(asked))
        except Refused as refused:
            return POLICY, str(refused)
        except MeshError as error:
            return _close_for(error)
        except ExceptionGroup as group:
            return _close_for_group(group)
        return 1000, ""

    async def _hold(
        self, authenticate: Callable[[], Awaitable[Principal]], connection: Connection, filters: Filters
    ) -> None:
        who = await authenticate()
        slot = await self._slots.take(who)

        async def alive() -> None:
            """Check the credential again with each ping: a connection may be open for longer than its key is right."""
            if uncovered(who.scopes, (await authenticate()).scopes) is not None:
                raise PermissionDenied("your scopes have changed; connect again")
            await self._slots.renew(slot)

        try:
            with run_as(who):
                socket = LogSocket(
                    connection,
                    self._tails,
                    per_minute=self._settings.socket_messages_per_minute,
                    silence=self._settings.socket_silence_seconds,
                    alive=alive,
                )
                await socket.serve(filters)
        finally:
            await self._slots.release(slot)

    async def _authenticate(self, headers: Headers, token: str | None) -> Principal:
        """The caller, by a header or by `?token=`: a browser cannot send headers with a WebSocket."""
        authorization, api_key = headers.text(b"authorization"), headers.text(b"x-api-key")
        if token and not authorization and not api_key:
            authorization = f"Bearer {token}"
        return await self._authenticator.authenticate(authorization, api_key, headers.text(SOURCE_HEADER))


def _close_for(error: MeshError) -> tuple[int, str]:
    if error.code in _REFUSALS:
        return POLICY, error.message
    return (LATER if error.code is Code.UNAVAILABLE else FAULT), error.message


def _close_for_group(group: ExceptionGroup[Exception]) -> tuple[int, str]:
    """The code and text to close with when a task failed; other failures of the group followed from the first."""
    first = group.exceptions[0]
    if isinstance(first, Ended):
        return first.code, first.reason
    if isinstance(first, MeshError):
        return _close_for(first)
    log.error("unexpected error", route=PATH, exc_info=first)
    return FAULT, "internal error"
