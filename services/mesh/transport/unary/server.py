"""The server of unary calls over HTTP/1.1, on one TCP address."""

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING

from services.mesh.call.handlers import decoding
from services.mesh.call.pipeline import Handler
from services.mesh.transport.listening import BACKLOG, listen
from services.mesh.transport.unary.connection import Connection, Connections, Served

if TYPE_CHECKING:
    from services.mesh.transport.tls.identity import Identity

# How long what was said last may take to leave.
_LAST_WORDS_SECONDS = 1.0


class UnaryServer:
    """Serves those of the wrapped handlers that take one request and give one response.

    With an identity only processes that prove theirs are let in; which of them may call, the pipeline says.
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
        self._connections = Connections()
        self._server: asyncio.Server | None = None

    async def start(self, host: str, port: int = 0) -> int:
        """Listen (port 0 chooses a free one); returns the port.

        Raises:
            Unavailable: the address is taken or not ours.
        """
        listener = listen(host, port)
        self._server = await asyncio.get_running_loop().create_server(
            lambda: Connection(self._methods, self._limit, self._connections),
            sock=listener,
            ssl=None if self._identity is None else self._identity.server_context(),
            backlog=BACKLOG,
        )
        return int(listener.getsockname()[1])

    async def stop(self) -> None:
        """Stop accepting, and close each connection once the call on it is answered; calls themselves are ended before.

        What takes longer than it takes to say how a call has ended is closed all the same.
        """
        if self._server is None:
            return
        self._server.close()
        await self._connections.leave(_LAST_WORDS_SECONDS)
