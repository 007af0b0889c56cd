"""One path for two protocols: plain HTTP, and WebSockets."""

from starlette.types import ASGIApp, Receive, Scope, Send


class ByProtocol:
    """An application for HTTP and one for WebSockets on the same path."""

    def __init__(self, http: ASGIApp, sockets: ASGIApp) -> None:
        self._http = http
        self._sockets = sockets

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request to its application."""
        await (self._sockets if scope["type"] == "websocket" else self._http)(scope, receive, send)
