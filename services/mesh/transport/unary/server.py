"""The server of unary calls over HTTP/1.1, on one TCP address."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

from services.mesh.call.handlers import decoding
from services.mesh.call.pipeline import Handler
from services.mesh.transport.listening import BACKLOG, listen
from services.mesh.transport.unary.connection import Served, UnaryConnection

if TYPE_CHECKING:
    from services.mesh.transport.tls.identity import Identity

# How long the last answers may take to be sent.
_LAST_WORDS_SECONDS = 1.0


class UnaryServer:
    """Serves the wrapped handlers that take one request and give one response.

    With an identity, only processes that have a certificate are let in; the pipeline says which of them may call.
    """

    def __init__(
        self, handlers: Mapping[str, Handler], *, max_message_bytes: int, identity: "Identity | None" = None
    ) -> None:
        self._methods = {
            path.encode(): Served(handler.request_deserializer, handler.unary_unary, handler.response_serializer)
            for path, handler in decoding(handlers).items()
            if handler.unary_unary is not None
        }
        self._limit = max_message_bytes
        self._identity = identity
        self._connections = _Connections()
        self._server: asyncio.Server | None = None

    async def start(self, host: str, port: int = 0) -> int:
        """Listen (port 0 chooses a free one); returns the port.

        Raises:
            Unavailable: the address is taken, or this machine does not have it.
        """
        listener = listen(host, port)
        self._server = await asyncio.get_running_loop().create_server(
            lambda: UnaryConnection(self._methods, self._limit, self._connections.opened, self._connections.closed),
            sock=listener,
            ssl=None if self._identity is None else self._identity.server_context(),
            backlog=BACKLOG,
        )
        return int(listener.getsockname()[1])

    async def stop(self) -> None:
        """Stop accepting, and close each connection once its call is answered; the calls are ended before.

        A connection whose answer takes longer than a second to be sent is closed all the same.
        """
        if self._server is None:
            return
        self._server.close()
        await self._connections.leave(_LAST_WORDS_SECONDS)


class _Connections:
    """The open connections of a server."""

    def __init__(self) -> None:
        self._stopped = False
        self._open: set[UnaryConnection] = set()
        self._none = asyncio.Event()
        self._none.set()

    def opened(self, connection: UnaryConnection) -> bool:
        """Take note of a new connection; whether it may stay."""
        self._open.add(connection)
        self._none.clear()
        return not self._stopped

    def closed(self, connection: UnaryConnection) -> None:
        """Forget a connection that is closed."""
        self._open.discard(connection)
        if not self._open:
            self._none.set()

    async def leave(self, patience: float) -> None:
        """Have each close when its call is answered, or after `patience` seconds."""
        self._stopped = True
        for connection in tuple(self._open):
            connection.leave()
        with suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await self._none.wait()
        for connection in tuple(self._open):
            connection.abandon()
