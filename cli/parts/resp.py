"""PING over Redis's protocol, without the memory a client library costs a process that only asks for health."""

import asyncio
from urllib.parse import unquote, urlsplit

from services.mesh.errors import Unavailable


def _command(*words: str) -> bytes:
    parts = [f"*{len(words)}\r\n".encode()]
    for word in words:
        data = word.encode()
        parts.append(b"$%d\r\n%s\r\n" % (len(data), data))
    return b"".join(parts)


async def ping(url: str) -> None:
    """Authenticate and PING the server at a `redis://` or `rediss://` URL.

    Raises:
        Unavailable: it answers something else than PONG (it is loading, or the password is wrong).
        OSError: it cannot be reached.
    """
    target = urlsplit(url)
    reader, writer = await asyncio.open_connection(
        target.hostname or "127.0.0.1", target.port or 6379, ssl=True if target.scheme == "rediss" else None
    )
    try:
        if target.password:
            user = (unquote(target.username),) if target.username else ()
            writer.write(_command("AUTH", *user, unquote(target.password)))
            await _expect(reader, b"+OK")
        writer.write(_command("PING"))
        await _expect(reader, b"+PONG")
    finally:
        writer.close()


async def _expect(reader: asyncio.StreamReader, wanted: bytes) -> None:
    answer = (await reader.readline()).strip()
    if answer != wanted:
        raise Unavailable(f"redis: {answer.decode(errors='replace') or 'closed the connection'}")
