"""PING over Redis's protocol, without the memory a client library costs a process that only asks for health."""

import asyncio
from urllib.parse import unquote, urlsplit

from cli.parts.refusal import answer_lasts
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
        FailedPrecondition: it refuses (the password is wrong, there is no such database), or is no Redis.
        Unavailable: it answers something else than PONG, which may change (it is loading).
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
        database = target.path.removeprefix("/")
        # The first needs no command, nor the permission for it.
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
        said = answer.decode(errors="replace")
        if answer_lasts(said.removeprefix("-")):
            raise FailedPrecondition(f"redis: {said}", reason="REDIS_REFUSED")
        raise Unavailable(f"redis: {said or 'closed the connection'}")
