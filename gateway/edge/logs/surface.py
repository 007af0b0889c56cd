"""`/ws/logs` as a surface: a WebSocket, and the error of a plain HTTP request to it."""

from soma.errors.v1 import reasons
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.edge.logs.sockets import PATH
from gateway.edge.routes import Exchange, Route
from services.mesh.call.errors import FailedPrecondition
from services.mesh.surfaces.error_shape import ErrorShape
from services.mesh.surfaces.surface import Space, Surface


async def _refuse_without_upgrade(exchange: Exchange) -> None:
    message = f"{PATH} is a WebSocket: connect to it with a client of that protocol (ws:// or wss://)."
    raise FailedPrecondition(message, reason=reasons.UPGRADE_REQUIRED)


ROUTES = (Route("GET", PATH, _refuse_without_upgrade),)
"""The routes of plain HTTP."""


class ByProtocol:
    """An application for HTTP and one for WebSockets on the same path."""

    def __init__(self, http: ASGIApp, sockets: ASGIApp) -> None:
        self._http = http
        self._sockets = sockets

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request to its application."""
        await (self._sockets if scope["type"] == "websocket" else self._http)(scope, receive, send)


def surface(http: ASGIApp, sockets: ASGIApp, unknown: Space, errors: ErrorShape) -> Surface:
    """The surface of the WebSocket; other paths under `/ws` are `unknown`."""
    return Surface(
        name="logs",
        app=ByProtocol(http, sockets),
        paths=(PATH,),
        sockets=(PATH,),
        spaces=(Space(("/ws",), unknown.message, unknown.reason),),
        errors=errors,
    )
