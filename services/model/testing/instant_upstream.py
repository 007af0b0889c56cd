"""An OpenAI-compatible server for benchmarks. It always answers at once with the same text, so it adds little time.

`python -m services.model.testing.instant_upstream --deltas 64` prints its URL and serves until it is killed. The
answers are made once, at the start; for a request, the server only has to find its end.
"""

import argparse
import asyncio
from collections.abc import Sequence
from typing import Any, cast

import orjson
import uvloop

from services.model.testing.dialects import Behaviour, OpenAIDialect

MODEL = "instant"
_DIALECT = OpenAIDialect()


def whole_answer(behaviour: Behaviour) -> bytes:
    """The HTTP response to a request without a stream."""
    count = len(behaviour.deltas)
    message = {"role": "assistant", "content": "".join(behaviour.deltas)}
    body = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": MODEL,
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 11, "completion_tokens": count, "total_tokens": 11 + count},
    }
    return _response(body)


def streamed_answer(behaviour: Behaviour) -> list[bytes]:
    """The HTTP response with a stream: its head, and then each event as an HTTP chunk."""
    head = (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n"
    )
    frames = [b"%x\r\n%s\r\n" % (len(frame), frame) for frame in _DIALECT.frames(behaviour, MODEL)]
    return [head, *frames, b"0\r\n\r\n"]


def _response(body: Any) -> bytes:
    content = orjson.dumps(body)
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(content)
    return head + content


class _Answering(asyncio.Protocol):
    """One connection; it answers its requests in their order."""

    def __init__(self, stream: Sequence[bytes], whole: bytes, listing: bytes, separately: bool) -> None:
        self._stream = stream
        self._stream_at_once = b"".join(stream)
        self._whole = whole
        self._listing = listing
        self._separately = separately
        self._received = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # The transports of uvloop are no subclass of asyncio.Transport.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._received += data
        while True:
            head, found, rest = self._received.partition(b"\r\n\r\n")
            if not found:
                return
            length = _content_length(head)
            if len(rest) < length:
                return
            self._received = rest[length:]
            self._answer(head, rest[:length])

    def _answer(self, head: bytes, body: bytes) -> None:
        assert self._transport is not None
        if head.startswith(b"GET"):
            self._transport.write(self._listing)
        elif b'"stream":true' not in body.replace(b": ", b":"):
            self._transport.write(self._whole)
        elif self._separately:
            for frame in self._stream:
                self._transport.write(frame)
        else:
            self._transport.write(self._stream_at_once)


def _content_length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


async def _serve(port: int, deltas: int, separately: bool) -> None:
    behaviour = Behaviour(deltas=[f" word{n}" for n in range(deltas)])
    stream, whole = streamed_answer(behaviour), whole_answer(behaviour)
    listing = _response(_DIALECT.listing([MODEL]))
    server = await asyncio.get_running_loop().create_server(
        lambda: _Answering(stream, whole, listing, separately), "127.0.0.1", port
    )
    host, bound = server.sockets[0].getsockname()[:2]
    print(f"http://{host}:{bound}", flush=True)  # noqa: T201 -- the process that started it reads the URL here
    await server.serve_forever()


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--deltas", type=int, default=64, help="pieces of text in an answer")
    parser.add_argument("--separately", action="store_true", help="write each event separately, not all at once")
    given = parser.parse_args()
    uvloop.run(_serve(given.port, given.deltas, given.separately))


if __name__ == "__main__":
    main()
