"""The ASGI application of the HTTP server of a service, for all of its surfaces."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from services.mesh.surfaces.surface import Surface
from services.mesh.surfaces.template import declared

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send


class BySurface:
    """Passes each request to the application of the surface that has its path.

    The gateway sends only requests for such paths. Any other request goes to the first application, which answers 404,
    and a WebSocket that no surface has is refused.

    Raises:
        ValueError: two of the surfaces have the same name or the same path.
    """

    def __init__(self, surfaces: Sequence[Surface]) -> None:
        if len({surface.name for surface in surfaces}) < len(surfaces):
            raise ValueError("two surfaces of a service have the same name")
        self._first = surfaces[0].app
        variable = [surface.app for surface in surfaces if not all(declared(path).fixed for path in surface.paths)]
        # If only one surface has paths with variables, no regular expression has to be compared.
        self._sole = variable[0] if len(variable) == 1 else None
        self._http = _Paths([(path, surface.app) for surface in surfaces for path in surface.paths])
        self._sockets = _Paths([(path, surface.app) for surface in surfaces for path in surface.sockets])

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Answer one request, or serve one WebSocket."""
        if scope["type"] != "websocket":
            path = scope["path"]
            await (self._http.fixed.get(path) or self._sole or self._http.find(path) or self._first)(
                scope, receive, send
            )
        elif app := self._sockets.find(scope["path"]):
            await app(scope, receive, send)
        else:
            await receive()
            await send({"type": "websocket.http.response.start", "status": 404, "headers": [(b"content-length", b"0")]})
            await send({"type": "websocket.http.response.body", "body": b""})


class _Paths:
    """The applications of paths."""

    def __init__(self, served: Sequence[tuple[str, "ASGIApp"]]) -> None:
        self.fixed: dict[str, ASGIApp] = {}
        self._open: list[tuple[re.Pattern[str], ASGIApp]] = []
        known: set[str] = set()
        for text, app in served:
            each = declared(text)
            if each.regex in known:
                raise ValueError(f"two surfaces of a service have {text}, or one has it twice")
            known.add(each.regex)
            if each.fixed:
                self.fixed[text] = app
            else:
                self._open.append((re.compile(each.regex), app))

    def find(self, path: str) -> "ASGIApp | None":
        """The application of a path; None if no surface has the path."""
        app = self.fixed.get(path)
        if app is not None:
            return app
        return next((app for form, app in self._open if form.fullmatch(path)), None)
