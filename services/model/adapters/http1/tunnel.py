"""An HTTP proxy (RFC 9110, 7.6 and 9.3.6): its header with the credentials, and a tunnel through it."""

import asyncio
import re
import socket
from base64 import b64encode
from dataclasses import dataclass

_LARGEST_HEAD = 16 * 1024
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})")


class ProxyRefused(OSError):
    """The proxy did not open a tunnel; the message has its answer."""


@dataclass(frozen=True, slots=True, repr=False)
class Proxy:
    """A proxy, and the user and password for it."""

    host: str
    port: int
    user: str = ""
    password: str = ""

    @property
    def fields(self) -> str:
        """The header lines with the credentials; empty if there are none."""
        if not self.user and not self.password:
            return ""
        credential = b64encode(f"{self.user}:{self.password}".encode()).decode()
        return f"Proxy-Authorization: Basic {credential}\r\n"


async def open_tunnel(opened: socket.socket, proxy: Proxy, host: str, port: int) -> None:
    """Ask the proxy at the other end of a connection to forward all following bytes to a server.

    Raises:
        ProxyRefused: the proxy refuses.
        OSError: the connection failed.
    """
    loop = asyncio.get_running_loop()
    target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    asked = f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{proxy.fields}\r\n"
    await loop.sock_sendall(opened, asked.encode("latin-1"))
    head = b""
    # A TLS server does not send first, so the bytes that are read end with the head of the proxy's answer.
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
