"""A client of unary calls over HTTP/1.1 that can send any bytes, and shows every byte of the answer."""

import asyncio
import base64
import gzip
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from google.rpc import error_details_pb2, status_pb2
from soma.testing.v1 import echo_service_pb2 as pb

ECHO = "/soma.testing.v1.EchoService/Echo"


def message(text: str = "hello", **script: object) -> bytes:
    """A request of `Echo`."""
    return pb.EchoRequest(text=text, script=pb.Script(**script)).SerializeToString()  # type: ignore[arg-type]


def framed(content: bytes, flag: int = 0, length: int | None = None) -> bytes:
    """A length-prefixed message; `length` is the length in its prefix."""
    return struct.pack(">BI", flag, len(content) if length is None else length) + content


def request(body: bytes, *fields: tuple[str, str], path: str = ECHO, verb: str = "POST") -> bytes:
    """A request as the gateway writes one."""
    lines = [f"{verb} {path} HTTP/1.1", "host: mesh", "content-type: application/grpc", "te: trailers"]
    lines += [f"{name}: {value}" for name, value in fields]
    return "\r\n".join([*lines, f"content-length: {len(body)}", "", ""]).encode() + body


@dataclass
class Answer:
    """An answer: the fields of its head and of its trailer, and the frame between them."""

    head: dict[str, str]
    body: bytes = b""
    trailer: dict[str, str] = field(default_factory=dict)

    @property
    def _last(self) -> dict[str, str]:
        return self.trailer or self.head

    @property
    def status(self) -> int:
        """`grpc-status`."""
        return int(self._last["grpc-status"])

    @property
    def reason(self) -> str:
        """The reason of the ErrorInfo in the details."""
        info = error_details_pb2.ErrorInfo()
        assert self.details.details[0].Unpack(info)
        return str(info.reason)

    @property
    def details(self) -> status_pb2.Status:
        """`grpc-status-details-bin`."""
        encoded = self._last["grpc-status-details-bin"]
        status = status_pb2.Status.FromString(base64.b64decode(encoded + "=" * (-len(encoded) % 4)))
        assert status.code == self.status
        return status

    @property
    def response(self) -> pb.EchoResponse:
        """The message, decompressed if its flag says that it is compressed."""
        flag, length = struct.unpack_from(">BI", self.body)
        content = self.body[5:]
        assert len(content) == length
        return pb.EchoResponse.FromString(gzip.decompress(content) if flag else content)


class Client:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def ask(self, *sent: bytes) -> Answer:
        """Write a request, piece by piece, and read the answer."""
        for piece in sent:
            self.writer.write(piece)
            await self.writer.drain()
        return await self.answer()

    async def answer(self) -> Answer:
        """Read one answer."""
        async with asyncio.timeout(10):
            assert await self.reader.readline() == b"HTTP/1.1 200 OK\r\n"
            answer = Answer(await self._fields())
            if "content-length" in answer.head:
                answer.body = await self.reader.readexactly(int(answer.head["content-length"]))
                return answer
            while size := int(await self.reader.readline(), 16):
                answer.body += await self.reader.readexactly(size)
                assert await self.reader.readline() == b"\r\n"
            answer.trailer = await self._fields()
            return answer

    async def closed(self) -> bool:
        """Whether the other end closes the connection without sending more."""
        async with asyncio.timeout(10):
            try:
                return await self.reader.read(1) == b""
            except ConnectionError:
                return True

    async def _fields(self) -> dict[str, str]:
        found: dict[str, str] = {}
        while (line := await self.reader.readline()) != b"\r\n":
            name, _, value = line.decode().rstrip("\r\n").partition(": ")
            found[name] = value
        return found


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[Client]:
    """A connection to a port of 127.0.0.1."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield Client(reader, writer)
    finally:
        writer.transport.abort()
