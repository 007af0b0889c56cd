"""Accepts the WebSockets of `/v1/responses`: authenticates their clients, limits their number, and closes them."""

import asyncio
from collections.abc import Callable
from urllib.parse import parse_qsl

import redis.asyncio as aioredis
import structlog
from starlette.types import Receive, Scope, Send

from gateway.edge.headers import SOURCE_HEADER, Headers
from gateway.edge.openai.failures import error_response
from gateway.edge.openai.kept_responses import ConnectionResponses, KeptResponses
from gateway.edge.openai.response_creation import Creation
from gateway.edge.openai.response_socket import ResponseSocket
from gateway.edge.openai.response_turn import PATH, Client, ResponseTurns
from gateway.edge.settings import EdgeSettings
from gateway.edge.ws.connection import Connection
from gateway.edge.ws.metrics import CLOSED, OPEN
from gateway.edge.ws.slots import Slot, Slots
from services.mesh.call.authenticator import Authenticator
from services.mesh.call.errors import Code, MeshError
from services.mesh.call.principal import Principal
from services.mesh.transport.departure import Departure
from services.mesh.transport.websocket import EXTENSION, FAULT, LATER, PINGS, POLICY

log = structlog.get_logger("edge")

# A slot is renewed with each ping. It expires when this many were missed, or after the least number of seconds.
_MISSED_PINGS, _LEAST_SLOT_SECONDS = 3, 10


class ResponseSockets:
    """Serves the WebSockets.

    A client that sends its key in a header is refused with an HTTP status. One that sends it as `?token=` is a browser,
    which can read no status of a handshake: it gets a connection with an `error` event, which is closed at once.
    """

    def __init__(
        self, authenticator: Authenticator, turns: ResponseTurns, client: aioredis.Redis, settings: EdgeSettings
    ) -> None:
        self._authenticator = authenticator
        self._turns = turns
        self._settings = settings
        self._kept = KeptResponses(settings.response_socket_kept_bytes)
        pause = settings.response_socket_silence_seconds / PINGS
        seconds = max(_LEAST_SLOT_SECONDS, round(_MISSED_PINGS * pause))
        self._slots = Slots(
            client, "response sockets", settings.response_sockets_per_user, settings.response_sockets, seconds
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection (ASGI's `websocket` scope)."""
        connection = Connection(receive, send, scope["extensions"][EXTENSION])
        began = asyncio.get_running_loop().time()
        headers = Headers(scope["headers"])
        token = dict(parse_qsl(scope["query_string"].decode("latin-1"))).get("token")
        credentials = headers.text(b"authorization"), headers.text(b"x-api-key")
        in_header = any(credentials) or not token
        if not in_header:
            credentials = f"Bearer {token}", None

        async def authenticate() -> Principal:
            return await self._authenticator.authenticate(*credentials, headers.text(SOURCE_HEADER))

        try:
            slot = await self._slots.take(await authenticate())
        except MeshError as error:
            await _refuse(connection, error, with_status=in_header)
            return
        OPEN.inc()
        code, reason = FAULT, "internal error"
        try:
            request_id = headers.text(b"x-request-id") or ""
            client = Client(connection.wire, Departure(), ConnectionResponses(self._kept), authenticate, request_id)
            code, reason = await self._serve(connection, client, slot)
        finally:
            await connection.close(code, reason)
            await self._slots.release(slot)
            OPEN.dec()
            CLOSED.labels(connection.closed_with or 0).inc()
            seconds = round(asyncio.get_running_loop().time() - began, 3)
            log.info("socket", route=PATH, code=connection.closed_with, seconds=seconds)

    async def _serve(self, connection: Connection, client: Client, slot: Slot) -> tuple[int, str]:
        await connection.accept()
        connection.wire.permit(self._settings.body_limit_bytes, self._settings.response_message_seconds)
        renewing: set[asyncio.Task[None]] = set()
        connection.wire.keep_alive(self._settings.response_socket_silence_seconds, self._renewal(slot, renewing))
        try:
            socket = ResponseSocket(connection, client, self._turns, self._settings.response_socket_seconds)
            return await socket.serve()
        finally:
            for task in renewing:
                task.cancel()

    def _renewal(self, slot: Slot, tasks: set[asyncio.Task[None]]) -> Callable[[], None]:
        def renew() -> None:
            task = asyncio.create_task(self._slots.renew(slot))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

        return renew


async def _refuse(connection: Connection, error: MeshError, *, with_status: bool) -> None:
    if with_status:
        failed = error_response(error)
        await connection.refuse(failed.status, failed.body, failed.headers)
        return
    await connection.accept()
    await connection.write(Creation().error(error))
    await connection.close(LATER if error.code is Code.UNAVAILABLE else POLICY, error.message)
