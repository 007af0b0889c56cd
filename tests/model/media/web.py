"""A web server that sends exactly the bytes of a test."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from services.mesh.testing.waiting import until

Answer = bytes | Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def ok(body: bytes, media_type: str = "", *lines: str, length: int | None = None) -> bytes:
    """An answer with a body."""
    fields = [*lines, f"Content-Length: {len(body) if length is None else length}"]
    if media_type:
        fields.append(f"Content-Type: {media_type}")
    return "\r\n".join(["HTTP/1.1 200 OK", *fields, "", ""]).encode() + body


async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer nothing more until the client goes away."""
    await reader.read()


@dataclass
class Web:
    """Answers a path with the bytes of `answers`, once for each connection; records the heads of requests."""

    answers: dict[str, Answer]
    port: int = 0
    open: int = 0
    most_open: int = 0
    heads: list[str] = field(default_factory=list)

    @property
    def paths(self) -> list[str]:
        """The paths that were asked for."""
        return [head.split(" ", 2)[1] for head in self.heads]

    def url(self, path: str, host: str = "127.0.0.1", scheme: str = "http") -> str:
        """The URL of a path."""
        return f"{scheme}://{host}:{self.port}{path}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        with suppress(asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            self.heads.append(head)
            answer = self.answers[head.split(" ", 2)[1]]
            if isinstance(answer, bytes):
                writer.write(answer)
                await writer.drain()
            else:
                await answer(reader, writer)
        self.open -= 1
        writer.close()


@asynccontextmanager
async def serving(tls: ssl.SSLContext | None = None, **answers: Answer) -> AsyncIterator[Web]:
    """Run a server; the names of the answers are the paths without their slash. Nothing may stay connected."""
    web = Web({f"/{name}": answer for name, answer in answers.items()})
    listening = await asyncio.start_server(web.serve, "127.0.0.1", 0, ssl=tls)
    web.port = listening.sockets[0].getsockname()[1]

    async def settled() -> bool:
        return web.open == 0

    async with listening:
        yield web
        await until(settled)
