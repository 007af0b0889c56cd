"""PING in Redis's protocol. A process that only checks health needs no client library, which costs memory."""

import asyncio
from urllib.parse import unquote, urlsplit

from cli.parts.permanence import is_permanent_answer
from services.mesh.call.errors import FailedPrecondition, Unavailable


def _command(*words: str) -> bytes:
    parts = [f"*{len(words)}\r\n".encode()]
    for word in words:
        data = word.encode()
        parts.append(b"$%d\r\n%s\r\n" % (len(data), data))
    return b"".join(parts)


async def ping(url: str) -> None:
    """Authenticate, select the database and PING the server at a `redis://` or `rediss://` URL.

    Raises:
        FailedPrecondition: the server refuses (wrong password, unknown database), or is not a Redis.
        Unavailable: it does not answer PONG now, but may later (it is loading).
        OSError: the server cannot be reached.
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
        database = target.path.removeprefix("/")
        # Database 0 needs no SELECT, so the user needs no permission for SELECT.
        if database not in ("", "0"):
            writer.write(_command("SELECT", database))
            await _expect(reader, b"+OK")
        writer.write(_command("PING"))
        await _expect(reader, b"+PONG")
    finally:
        writer.close()


async def _expect(reader: asyncio.StreamReader, wanted: bytes) -> None:
    answer = (await reader.readline()).strip()
    if answer != wanted:
        text = answer.decode(errors="replace")
        if is_permanent_answer(text.removeprefix("-")):
            raise FailedPrecondition(f"redis: {text}", reason="REDIS_REFUSED")
        raise Unavailable(f"redis: {text or 'closed the connection'}")
