"""An HTTP server for an ASGI application, inside the process's own event loop."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import structlog
import uvicorn
from soma.errors.v1 import reasons
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from services.mesh.call import errors
from services.mesh.call.process_name import Allowed, gateway, identities_of, name_in
from services.mesh.transport.departure import EXTENSION, Departure
from services.mesh.transport.gathering import GatheringTransport
from services.mesh.transport.listening import BACKLOG, listen
from services.mesh.transport.websocket import SMALL_BYTES, sockets_of_a_server

if TYPE_CHECKING:
    from services.mesh.transport.tls.identity import Identity

log = structlog.get_logger("tls")


# Bytes of a body that an application gets in one piece. By uvicorn's own limit, reading pauses after every 64 KiB.
_PIECE = 2 * 1024 * 1024


class _Http(HttpToolsProtocol):
    """A connection that sends its answers, and hands over the bodies of its requests, in as few pieces as possible.

    The scope of each request has an extension with the `Departure` of the client.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._departure = Departure()
        super().connection_made(GatheringTransport(transport, self.loop))

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._departure.happen()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        scope: Any = self.scope
        scope["extensions"] = {EXTENSION: self._departure}

    def on_message_complete(self) -> None:
        super().on_message_complete()
        # A large body pauses reading, and without reading a disconnect is not noticed.
        if not self.pipeline:
            self.flow.resume_reading()

    def on_response_complete(self) -> None:
        # Nothing is added to an answer that is complete.
        if isinstance(self.transport, GatheringTransport):
            self.transport.flush()
        super().on_response_complete()

    def on_body(self, body: bytes) -> None:
        """Collect a body; uvicorn itself wakes the application at its end."""
        if self.parser.should_upgrade() and self._should_upgrade():
            # The request has no cycle.
            return
        cycle = self.cycle
        if cycle.response_complete:
            # Nobody reads the rest.
            return
        cycle.body += body
        if len(cycle.body) >= _PIECE:
            self.flow.pause_reading()
            cycle.message_event.set()


def _refusing_others(allowed: Allowed) -> type[asyncio.Protocol]:
    """The HTTP protocol for connections whose certificate names an allowed process."""

    class Protocol(_Http):
        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            identities = identities_of(transport)
            super().connection_made(transport)
            if not any(allowed(name_in(identity)) for identity in identities):
                log.warning("peer refused", reason=reasons.PEER_NOT_ALLOWED, peer=identities)
                transport.close()

    return Protocol


class _WithoutSignals(uvicorn.Server):
    """uvicorn without its signal handlers: signals belong to the process."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone."""
        yield


class HttpServer:
    """Serves one application on one TCP address. An application with WebSockets checks itself that they are alive.

    With an identity, only processes that are `allowed` are let in.
    """

    def __init__(
        self,
        app: Any,
        *,
        websockets: bool = False,
        limit_concurrency: int | None = None,
        identity: "Identity | None" = None,
        allowed: Allowed = gateway,
    ) -> None:
        context = identity.server_context() if identity is not None else None
        self._server = _WithoutSignals(
            uvicorn.Config(
                app,
                loop="none",
                http=_Http if context is None else _refusing_others(allowed),
                ssl_context_factory=None if context is None else lambda *_: context,
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                date_header=False,
                proxy_headers=False,
                timeout_keep_alive=75,
                backlog=BACKLOG,
                limit_concurrency=limit_concurrency,
                ws=sockets_of_a_server() if websockets else "none",
                # Of messages from clients; messages to them may have any size.
                ws_max_size=SMALL_BYTES,
                ws_ping_interval=None,
                ws_per_message_deflate=False,
            )
        )
        self._task: asyncio.Task[None] | None = None

    async def start(self, host: str, port: int = 0) -> int:
        """Listen (port 0 chooses a free one); returns the port.

        Raises:
            Unavailable: the address is taken, or this machine does not have it.
        """
        listener = listen(host, port)
        self._task = asyncio.create_task(self._server.serve(sockets=[listener]))
        while not self._server.started:
            if self._task.done():
                await self._task
                raise errors.Unavailable("the HTTP server stopped while starting", reason=reasons.HTTP_START_FAILED)
            await asyncio.sleep(0)
        return int(listener.getsockname()[1])

    async def stop(self, grace: float = 3.0) -> None:
        """Stop accepting, let requests end for `grace` seconds, close."""
        self._server.config.timeout_graceful_shutdown = max(1, round(grace))
        self._server.should_exit = True
        if self._task is not None:
            with suppress(asyncio.CancelledError):
                await self._task
