"""`/ws/logs` as a surface: a WebSocket, and the error of a plain HTTP request to it."""

from soma.errors.v1 import reasons
from starlette.types import ASGIApp

from gateway.edge.logs.sockets import PATH
from gateway.edge.routes import Exchange, Route
from gateway.edge.ws.by_protocol import ByProtocol
from services.mesh.call.errors import FailedPrecondition
from services.mesh.surfaces.error_shape import ErrorShape
from services.mesh.surfaces.surface import Space, Surface


async def _refuse_without_upgrade(exchange: Exchange) -> None:
    message = f"{PATH} is a WebSocket: connect to it with a client of that protocol (ws:// or wss://)."
    raise FailedPrecondition(message, reason=reasons.UPGRADE_REQUIRED)


ROUTES = (Route("GET", PATH, _refuse_without_upgrade),)
"""The routes of plain HTTP."""


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
