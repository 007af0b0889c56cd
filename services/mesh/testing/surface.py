"""A surface for tests: pages, a stream and a WebSocket on paths of its own, and errors in a shape of its own."""

from collections.abc import AsyncIterator

from soma.errors.v1 import reasons
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from services.mesh.surfaces.error_shape import ErrorShape
from services.mesh.surfaces.surface import Space, Surface

ERRORS = ErrorShape(
    {"oops": {"why": "{message}", "reason": "{reason}", "number": "{status}", "kind": "{kind}"}},
    kinds={400: "yours", 500: "ours"},
    headers={"x-testing-error": "{code}"},
)


async def _said(request: Request) -> Response:
    return PlainTextResponse(f"{request.method} {request.path_params['text']}")


async def _failed(request: Request) -> Response:
    stated = ERRORS.stated(400, canonical="INVALID_ARGUMENT", reason=reasons.INVALID_VALUE, message="as you asked")
    return JSONResponse(stated.body, stated.status, stated.headers)


async def _seen(request: Request) -> Response:
    async def events() -> AsyncIterator[str]:
        yield f"data: {request.headers.get('authorization', '')}\n\n"

    return StreamingResponse(events(), media_type="text/event-stream")


async def _repeated(connection: WebSocket) -> None:
    await connection.accept()
    async for text in connection.iter_text():
        await connection.send_text(text)


async def _page(_: Request) -> Response:
    return PlainTextResponse("testing")


def surface() -> Surface:
    """Says what the path says, fails, shows the credential it was sent, and repeats what comes over its WebSocket."""
    routes = [
        Route("/testing/say/{text:path}", _said, methods=["GET", "POST"]),
        Route("/testing/fail", _failed),
        Route("/testing/seen", _seen),
        WebSocketRoute("/testing/echo", _repeated),
        Route("/{path:path}", _page),
    ]
    return Surface(
        name="testing",
        app=Starlette(routes=routes),
        paths=("/testing/say/{text=**}", "/testing/fail", "/testing/seen"),
        sockets=("/testing/echo",),
        streams=("/testing/seen",),
        spaces=(Space(("/testing",), "{path} is 100% unknown"),),
        errors=ERRORS,
    )
