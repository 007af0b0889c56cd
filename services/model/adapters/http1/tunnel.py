"""A proxy of HTTP (RFC 9110, 7.6 and 9.3.6): what it is told with a request, and a tunnel through it."""

import asyncio
import re
import socket
from base64 import b64encode
from dataclasses import dataclass

_LARGEST_HEAD = 16 * 1024
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})")


class ProxyRefused(OSError):
    """The proxy did not open a tunnel; says what it answered."""


@dataclass(frozen=True, slots=True, repr=False)
class Proxy:
    """A proxy, and who it is asked as."""

    host: str
    port: int
    user: str = ""
    password: str = ""

    @property
    def fields(self) -> str:
        """The header lines it wants."""
        if not self.user and not self.password:
            return ""
        credential = b64encode(f"{self.user}:{self.password}".encode()).decode()
        return f"Proxy-Authorization: Basic {credential}\r\n"


async def open_tunnel(opened: socket.socket, proxy: Proxy, host: str, port: int) -> None:
    """Have the proxy at the other end of a connection hand on all that follows to a server.

    Raises:
        ProxyRefused: it does not.
        OSError: the connection failed.
    """
    loop = asyncio.get_running_loop()
    target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    asked = f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{proxy.fields}\r\n"
    await loop.sock_sendall(opened, asked.encode("latin-1"))
    head = b""
    # A server of TLS says nothing before it is asked, so what is read ends with the proxy's head.
    while b"\r\n\r\n" not in head:
        read = await loop.sock_recv(opened, 4096)
        if not read or len(head) > _LARGEST_HEAD:
            raise ProxyRefused("the proxy closed the connection" if not read else "the proxy does not speak HTTP")
        head += read
    status = _STATUS.match(head)
    if status is None:
        raise ProxyRefused("the proxy does not speak HTTP")
    if not 200 <= int(status[1]) < 300:
        wants = ": it wants another user or password" if status[1] == b"407" else ""
        raise ProxyRefused(f"the proxy answered {status[1].decode()}{wants}")
