"""Reads an address on the web for a request, and nothing in private networks (server-side request forgery)."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, TypeAlias

import aiohappyeyeballs

from services.mesh.transport.public_address import is_public
from services.model.adapters.http1.connection import Broken, Connection, NotHttp
from services.model.adapters.http1.network import Network
from services.model.adapters.http1.tunnel import Proxy, ProxyRefused, open_tunnel
from services.model.media.address import Address, Unreachable
from services.model.media.contents import WORDS, Kind
from services.model.media.media_type import Wrong, may_be, normal
from services.model.media.settings import MediaSettings

# An entry of `socket.getaddrinfo`.
Found: TypeAlias = tuple[Any, Any, int, str, Any]
# Finds the IP addresses of a host.
Resolve: TypeAlias = Callable[[str, int], Awaitable[Sequence[Found]]]

_LONGEST_SHOWN = 200


class TooLarge(Exception):
    """The contents of a request are larger than the limit."""


class Allowance:
    """The bytes that the contents of one request may still have."""

    def __init__(self, limit: int) -> None:
        self._left = limit

    def take(self, size: int) -> None:
        """Use some of it.

        Raises:
            TooLarge: so much is not left.
        """
        if size > self._left:
            raise TooLarge
        self._left -= size


@dataclass(frozen=True, slots=True)
class Fetched:
    """The bytes at an address, and the media type that its server declares; it may be empty."""

    data: bytes
    served: str


class Fetcher:
    """Reads addresses. One for a process.

    The name of a host is resolved once. All addresses that it has must be public, and the connection goes to one of
    these addresses, so that the name cannot lead elsewhere the next time (DNS rebinding). With a proxy, the proxy
    resolves names.
    """

    def __init__(self, settings: MediaSettings, network: Network, resolve: Resolve | None = None) -> None:
        self._settings = settings
        self._network = network
        self._resolve = resolve or _resolved
        self._trusted = frozenset(settings.trusted_hosts)
        self._context: ssl.SSLContext | None = network.context

    def address(self, url: str) -> Address:
        """The address that a URL names, which may be asked.

        Raises:
            Unreachable: it is no address that may be read.
        """
        address = Address.of(url)
        if self._is_trusted(address):
            return address
        if address.is_local_name or (address.literal is not None and not is_public(address.literal)):
            raise Unreachable("its address is not in the public internet")
        return address

    async def fetch(self, url: str, kind: Kind, allowance: Allowance, uses: int = 1) -> Fetched:
        """The bytes at an address.

        Args:
            uses: how often the request has them.

        Raises:
            Unreachable: the address must not be read, or cannot be.
            Wrong: the server declares a type that is not of this kind.
            TooLarge: the request would have too many bytes.
        """
        address = self.address(url)
        if address.port not in self._settings.ports and not self._is_trusted(address):
            raise Unreachable(f"port {address.port} is not one of those that are read")
        try:
            async with asyncio.timeout(self._settings.fetch_timeout), self._connected(address) as (connection, head):
                connection.send(head)
                await connection.answered(self._settings.fetch_timeout)
                return await self._read(connection, kind, allowance, uses)
        except TimeoutError:
            raise Unreachable(f"it was not read within {self._settings.fetch_timeout:g} s") from None
        except ssl.SSLCertVerificationError as error:
            raise Unreachable(f"the certificate of its server is not trusted ({error.verify_message})") from error
        except ProxyRefused as error:
            raise Unreachable(str(error)) from error
        except NotHttp as error:
            raise Unreachable("its server does not speak HTTP") from error
        except Broken as error:
            raise Unreachable("its server closed the connection before the end") from error
        except OSError as error:
            raise Unreachable("its server cannot be reached") from error

    async def _read(self, connection: Connection, kind: Kind, allowance: Allowance, uses: int) -> Fetched:
        headers = connection.headers
        if 300 <= connection.status < 400:
            raise Unreachable(_led(headers.get("location", "")))
        if connection.status != 200:
            raise Unreachable(f"its server answers with status {connection.status}")
        if headers.get("content-encoding", "identity").lower() != "identity":
            raise Unreachable("its server compresses it, though it was asked not to")
        served = normal(headers.get("content-type", ""))
        if not may_be(kind, served):
            raise Wrong(f"is {_shown(served)} according to its server, which is not a {WORDS[kind]}")
        length = headers.get("content-length", "")
        declared = int(length) if length.isdecimal() else 0
        # What is declared is refused before it is read, and what is not declared while it is read.
        allowance.take(declared * uses)
        chunks, size = [], 0
        while chunk := await connection.read(self._settings.fetch_timeout):
            size += len(chunk)
            if size > declared:
                allowance.take(min(len(chunk), size - declared) * uses)
            chunks.append(chunk)
        return Fetched(chunks[0] if len(chunks) == 1 else b"".join(chunks), served)

    @contextlib.asynccontextmanager
    async def _connected(self, address: Address) -> AsyncIterator[tuple[Connection, bytes]]:
        """A connection to the server or the proxy, and the request to send over it."""
        proxy = self._network.proxy_for(address.origin)
        opened = await self._open(address, proxy)
        loop = asyncio.get_running_loop()
        context = self._tls() if address.secure else None
        try:
            transport, connection = await loop.create_connection(
                lambda: Connection(loop, inflates=False),
                sock=opened,
                ssl=context,
                server_hostname=address.host if context else None,
            )
        except BaseException:
            opened.close()
            raise
        try:
            yield connection, _request(address, proxy)
        finally:
            transport.abort()

    async def _open(self, address: Address, proxy: Proxy | None) -> socket.socket:
        if proxy is None:
            found = await self._checked(address)
        else:
            found = await _resolved(proxy.host, proxy.port)
        opened = await aiohappyeyeballs.start_connection(
            found, happy_eyeballs_delay=0.25, loop=asyncio.get_running_loop()
        )
        try:
            if proxy is not None and address.secure:
                await open_tunnel(opened, proxy, address.host, address.port)
        except BaseException:
            opened.close()
            raise
        return opened

    async def _checked(self, address: Address) -> Sequence[Found]:
        """The IP addresses of the host.

        Raises:
            Unreachable: there are none, or not all of them are public.
        """
        try:
            found = await self._resolve(address.host, address.port)
        except OSError:
            raise Unreachable(f"the name {address.host} cannot be resolved") from None
        if not found:
            raise Unreachable(f"the name {address.host} cannot be resolved")
        if not self._is_trusted(address) and not all(is_public(ip_address(each[4][0])) for each in found):
            raise Unreachable("its address is not in the public internet")
        return found

    def _is_trusted(self, address: Address) -> bool:
        host = f"[{address.host}]" if ":" in address.host else address.host
        return not self._trusted.isdisjoint((host, f"{host}:{address.port}"))

    def _tls(self) -> ssl.SSLContext:
        if self._context is None:
            self._context = ssl.create_default_context()
        return self._context


async def _resolved(host: str, port: int) -> Sequence[Found]:
    return await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)


def _request(address: Address, proxy: Proxy | None) -> bytes:
    """The request. A proxy without a tunnel gets the whole URL, and the credentials for it."""
    through = proxy is not None and not address.secure
    target = f"{address.origin}{address.target}" if through else address.target
    fields = proxy.fields if proxy is not None and through else ""
    return (
        f"GET {target} HTTP/1.1\r\nHost: {address.authority}\r\nUser-Agent: somamesh\r\nAccept: */*\r\n"
        f"Accept-Encoding: identity\r\nConnection: close\r\n{fields}\r\n"
    ).encode("latin-1")


def _led(location: str) -> str:
    return f"it leads to {_shown(location)}; use that address" if location else "it leads elsewhere"


def _shown(text: str) -> str:
    """A text of a server, which may hold anything, for a message."""
    return "".join(each for each in text if each.isprintable())[:_LONGEST_SHOWN]
