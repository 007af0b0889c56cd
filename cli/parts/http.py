"""An HTTP GET for health endpoints on this machine. The control process needs no HTTP client library for it."""

import asyncio

from services.mesh.call.errors import Unavailable
from services.mesh.transport.address import split


async def get_status(address: str, path: str) -> tuple[int, str]:
    """GET `path` from `host:port`; return the status and the body.

    Raises:
        Unavailable: the answer is not HTTP.
        OSError: no process listens there.
    """
    reader, writer = await asyncio.open_connection(*split(address))
    try:
        writer.write(f"GET {path} HTTP/1.0\r\nHost: {address}\r\nConnection: close\r\n\r\n".encode())
        answer = await reader.read()
    finally:
        writer.close()
    head, _, body = answer.decode(errors="replace").partition("\r\n\r\n")
    words = head.split(maxsplit=2)
    if len(words) < 2 or not words[1].isdigit():
        raise Unavailable(f"{address} does not speak HTTP")
    return int(words[1]), body
