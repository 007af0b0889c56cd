"""A pool of connections to one server, which stay open between exchanges."""

import asyncio
import socket
import ssl
from collections import deque
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

import aiohappyeyeballs

from services.model.adapters.http1.connection import Broken, Connection
from services.model.adapters.http1.network import DIRECT, Network
from services.model.adapters.http1.tunnel import open_tunnel

# Servers close idle connections after this time or later.
_KEPT_SECONDS = 30.0
_MOST_KEPT = 256
NO_FIELDS: Mapping[str, str] = {}


class Form(NamedTuple):
    """The media type of the body of a request, and those of the answers that it accepts."""

    content_type: str
    accept: str


JSON = Form("application/json", "text/event-stream, application/json")


class Connections:
    """A pool of connections to one server: each exchange has a connection of its own. Made inside the event loop.

    `headers` are sent with every request beside its media types, and so is the query of `base_url`, if it has one.
    `network` has the proxies and the certificate authorities.
    """

    def __init__(
        self, base_url: str, headers: Mapping[str, str], connect_seconds: float, network: Network = DIRECT
    ) -> None:
        url = urlsplit(base_url)
        if url.scheme not in ("http", "https") or not url.hostname:
            raise ValueError(f"{base_url!r} is not an http or https URL")
        self._loop = asyncio.get_running_loop()
        self._host = url.hostname
        self._port = url.port or (443 if url.scheme == "https" else 80)
        self._path = url.path.rstrip("/")
        self._query = url.query
        secure = url.scheme == "https"
        self._context = (network.context or ssl.create_default_context()) if secure else None
        self._proxy = network.proxy_for(base_url)
        self._connect_seconds = connect_seconds
        lines = {"Host": url.netloc.rpartition("@")[2], **headers}
        self._fields = "".join(f"{name}: {_clean(value)}\r\n" for name, value in lines.items())
        self._origin = ""
        if self._proxy is not None and not secure:
            # The proxy gets the whole URL and the credentials with each request. In a tunnel, it would get neither.
            self._origin = f"http://{lines['Host']}"
            self._fields += self._proxy.fields
        self._heads: dict[tuple[str, str, Form], bytes] = {}
        self._idle: deque[tuple[float, Connection]] = deque()
        self._busy: set[Connection] = set()

    async def ask(
        self,
        method: str,
        path: str,
        body: bytes,
        seconds: float,
        fields: Mapping[str, str] = NO_FIELDS,
        form: Form = JSON,
    ) -> Connection:
        """Send a request, with further header fields, and return its connection when the head of the answer is here.

        Give the connection back later.

        If the server had closed an idle connection before it saw the request, the request is sent again on another one.

        Raises:
            ConnectTimeout: the server could not be reached in time.
            OSError: the server cannot be reached.
            Broken, NotHttp: the server does not answer.
            TimeoutError: the server did not answer within `seconds`.
        """
        head = self._head(method, path, form)
        if fields:
            head += "".join(f"{name}: {_clean(value)}\r\n" for name, value in fields.items()).encode("latin-1")
        head += b"Content-Length: %d\r\n\r\n" % len(body)
        while True:
            connection = self._idle_connection()
            fresh = connection is None
            if connection is None:
                connection = await self._connect()
            self._busy.add(connection)
            try:
                connection.send(head, body)
                await connection.answered(seconds)
            except Broken as broken:
                self.give_back(connection)
                if fresh or not broken.untouched:
                    raise
            except BaseException:
                self.give_back(connection)
                raise
            else:
                return connection

    def give_back(self, connection: Connection) -> None:
        """Return a connection to the pool after the exchange; after an incomplete exchange, drop it."""
        self._busy.discard(connection)
        if connection.reusable and len(self._idle) < _MOST_KEPT:
            self._idle.append((self._loop.time(), connection))
        else:
            connection.abort()

    def close(self) -> None:
        """Drop all connections."""
        for connection in (*self._busy, *(connection for _, connection in self._idle)):
            connection.abort()
        self._idle.clear()

    def _idle_connection(self) -> Connection | None:
        oldest = self._loop.time() - _KEPT_SECONDS
        while self._idle and self._idle[0][0] < oldest:
            self._idle.popleft()[1].abort()
        while self._idle:
            # Take the newest, so that connections that are not needed become old and are closed.
            connection = self._idle.pop()[1]
            if connection.reusable:
                return connection
        return None

    async def _connect(self) -> Connection:
        try:
            async with asyncio.timeout(self._connect_seconds):
                opened = await self._open()
                _, connection = await self._loop.create_connection(
                    lambda: Connection(self._loop),
                    sock=opened,
                    ssl=self._context,
                    server_hostname=self._host if self._context else None,
                )
        except TimeoutError as error:
            raise ConnectTimeout from error
        return connection

    async def _open(self) -> socket.socket:
        """A connection to the server: direct, through a tunnel, or to a proxy that forwards each request."""
        host, port = (self._host, self._port) if self._proxy is None else (self._proxy.host, self._proxy.port)
        found = await self._loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        # uvloop would try the addresses one after the other, each until it fails.
        opened = await aiohappyeyeballs.start_connection(found, happy_eyeballs_delay=0.25, loop=self._loop)
        try:
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._proxy is not None and self._context is not None:
                await open_tunnel(opened, self._proxy, self._host, self._port)
        except BaseException:
            opened.close()
            raise
        return opened

    def _head(self, method: str, path: str, form: Form) -> bytes:
        head = self._heads.get((method, path, form))
        if head is None:
            query = f"{'&' if '?' in path else '?'}{self._query}" if self._query else ""
            own = f"Content-Type: {form.content_type}\r\nAccept: {form.accept}\r\n"
            text = f"{method} {self._origin}{self._path}{path}{query} HTTP/1.1\r\n{self._fields}{own}"
            head = text.encode("latin-1")
            self._heads[method, path, form] = head
        return head


class ConnectTimeout(Exception):
    """The server could not be reached in time."""


def _clean(value: str) -> str:
    if "\r" in value or "\n" in value:
        raise ValueError("the value of a header holds a line break")
    return value
