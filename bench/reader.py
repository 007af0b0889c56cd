"""Reads streamed chat completions on several connections for some seconds, and checks each of them.

python -m bench.reader PORT KEY CONNECTIONS SECONDS
"""

import asyncio
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import cast

import httptools
import orjson
import uvloop

from bench.stack import chat_body
from bench.upstream import DELTAS, answer

MODEL = "instant-64"
TEXT = answer(MODEL)
PATIENCE_SECONDS = 30


@dataclass(frozen=True)
class Reading:
    """The result of reading.

    Attributes:
        answers: number of complete answers, with exactly the text of the upstream and [DONE] at the end.
        wrong: number of other answers.
        events: pieces of text received; fewer than the upstream sent if some were merged.
        first_ms: median time from a request to the first piece of its answer, in ms.
    """

    answers: int
    wrong: int
    events: int
    seconds: float
    first_ms: float

    @property
    def rate(self) -> float:
        """Deltas of the upstream delivered per second."""
        return self.answers * DELTAS[MODEL] / self.seconds


class Connection(asyncio.Protocol):
    """Sends the next request as soon as an answer has ended, until the time is over."""

    def __init__(self, request: bytes, stop_at: float) -> None:
        self._request = request
        self._stop_at = stop_at
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.answers = self.wrong = self.events = 0
        self.firsts: list[float] = []
        self._started_at = self._first = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the first request."""
        self._transport = cast(asyncio.Transport, transport)
        self._ask()

    def connection_lost(self, error: Exception | None) -> None:
        """Count an answer that is cut here as wrong."""
        if not self.ended.done():
            self.wrong += 1
            self.ended.set_result(None)

    def data_received(self, data: bytes) -> None:
        """Parse the data."""
        self._parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        """Take a piece of the answer's body."""
        self._body += body
        if not self._first and b'"content":"w' in self._body:
            self._first = time.perf_counter() - self._started_at

    def on_message_complete(self) -> None:
        """Check the answer, and send the next request."""
        pieces = _pieces(bytes(self._body))
        if self._parser.get_status_code() == 200 and "".join(pieces) == TEXT and self._body.endswith(b"[DONE]\n\n"):
            self.answers += 1
            self.events += len(pieces)
            self.firsts.append(self._first)
        else:
            self.wrong += 1
        if time.perf_counter() < self._stop_at:
            self._ask()
        else:
            self.ended.set_result(None)
            self._transport.close()

    def _ask(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._body = bytearray()
        self._first = 0.0
        self._started_at = time.perf_counter()
        self._transport.write(self._request)


def _pieces(body: bytes) -> list[str]:
    """The texts of an answer's events, in order."""
    pieces = []
    for event in body.split(b"\n\n"):
        if event.startswith(b"data: {"):
            for choice in orjson.loads(event[6:]).get("choices", ()):
                pieces.append(choice["delta"].get("content") or "")
    return [piece for piece in pieces if piece]


async def read(port: int, key: str, connections: int, seconds: float) -> Reading:
    """Read on all connections at once."""
    body = chat_body(MODEL, stream=True)
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nauthorization: Bearer {key}\r\n"
    request = f"{head}content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body
    began = time.perf_counter()
    make: Callable[[], Connection] = lambda: Connection(request, began + seconds)  # noqa: E731
    loop = asyncio.get_running_loop()
    opened = [await loop.create_connection(make, "127.0.0.1", port) for _ in range(connections)]
    async with asyncio.timeout(seconds + PATIENCE_SECONDS):
        await asyncio.gather(*(connection.ended for _, connection in opened))
    took = time.perf_counter() - began
    readers = [connection for _, connection in opened]
    firsts = [first for reader in readers for first in reader.firsts]
    return Reading(
        sum(reader.answers for reader in readers),
        sum(reader.wrong for reader in readers),
        sum(reader.events for reader in readers),
        took,
        statistics.median(firsts) * 1000 if firsts else 0.0,
    )


if __name__ == "__main__":
    given = sys.argv[1:]
    result = uvloop.run(read(int(given[0]), given[1], int(given[2]), float(given[3])))
    print(orjson.dumps(asdict(result)).decode())
