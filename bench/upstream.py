"""An OpenAI-compatible server that answers at once, so that only the time before it is measured.

    python -m bench.upstream PORT

The model `instant` answers one word. `instant-64` and `instant-500` answer as many words: whole, or each in its own
chunk, its own packet and its own iteration of the event loop, as they are asked. `instant-picture` answers one word if
the request has a picture of `bench.pixels`, and the text before it has the same number. Answers are prepared before the
first request, so a request costs only parsing and writing.
"""

import asyncio
import sys
from collections.abc import Iterator
from functools import cache
from typing import Any, cast

import httptools
import orjson
import uvloop

from bench.pixels import NUMBER, picture

DELTAS = {"instant": 1, "instant-64": 64, "instant-500": 500, "instant-picture": 1}
PROMPT_TOKENS = 8
END = b"0\r\n\r\n"


def words(model: str) -> list[str]:
    """The deltas of a model's answer. All are different, so that a lost or moved delta is noticed."""
    return [f"word-{index} " for index in range(DELTAS[model])]


def answer(model: str) -> str:
    """The whole text of a model's answer."""
    return "".join(words(model))


def usage(model: str) -> dict[str, int]:
    """The tokens of an answer: each word counts as one."""
    written = DELTAS[model]
    return {"prompt_tokens": PROMPT_TOKENS, "completion_tokens": written, "total_tokens": PROMPT_TOKENS + written}


@cache
def events(model: str) -> tuple[bytes, ...]:
    """The parts of a streamed answer: a chunked response from its head to its end."""
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    texts = [_event(model, {"content": word}) for word in words(model)]
    opening = head + _event(model, {"role": "assistant", "content": ""})
    counted = _framed(orjson.dumps({**_chunk(model), "choices": [], "usage": usage(model)}))
    closing = _event(model, {}, "stop") + counted + _framed(b"[DONE]") + END
    return (opening + texts[0], *texts[1:], closing) if len(texts) > 1 else (opening + texts[0] + closing,)


@cache
def whole(model: str) -> bytes:
    """An answer that is not streamed."""
    message = {"role": "assistant", "content": answer(model)}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return json_reply({**_chunk(model), "object": "chat.completion", "choices": [choice], "usage": usage(model)})


@cache
def models() -> bytes:
    """The list of models."""
    return json_reply({"object": "list", "data": [{"id": name, "object": "model"} for name in DELTAS]})


def json_reply(document: dict[str, Any]) -> bytes:
    """A response with a JSON body."""
    body = orjson.dumps(document)
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)


def _event(model: str, delta: dict[str, str], finish: str | None = None) -> bytes:
    return _framed(orjson.dumps({**_chunk(model), "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}))


def _chunk(model: str) -> dict[str, Any]:
    return {"id": "chatcmpl-bench", "object": "chat.completion.chunk", "created": 1, "model": model}


def _framed(data: bytes) -> bytes:
    event = b"data: %b\n\n" % data
    return b"%x\r\n%b\r\n" % (len(event), event)


@cache
def encoded() -> bytes:
    """What all pictures have in common, as it is in a request."""
    return picture().encode()


def has_picture(content: Any) -> bool:
    """Whether a message, from which a picture was cut, asks for the number of its picture."""
    match content:
        case [{"text": str(text)}, {"image_url": {"url": str(url)}}]:
            return (number := url.removeprefix(DATA_URL)) == text[-1 - len(number) : -1] and len(number) == len(NUMBER)
        case _:
            return False


DATA_URL = "data:image/png;base64,"
NO_PICTURE = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n"


class Connection(asyncio.Protocol):
    """A keep-alive connection with one request after the other."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start to serve the connection."""
        self._transport = cast(asyncio.Transport, transport)
        self._parser = httptools.HttpRequestParser(self)
        self._body = bytearray()

    def data_received(self, data: bytes) -> None:
        """Parse the data."""
        self._parser.feed_data(data)

    def on_message_begin(self) -> None:
        """Begin a request."""
        self._body = bytearray()

    def on_body(self, body: bytes) -> None:
        """Take a piece of the request's body."""
        self._body += body

    def on_message_complete(self) -> None:
        """Answer the request."""
        if not self._body:
            self._transport.write(models())
            return
        self._cut_picture()
        request = orjson.loads(self._body)
        if request["model"] == "instant-picture" and not has_picture(request["messages"][-1]["content"]):
            self._transport.write(NO_PICTURE)
        elif request.get("stream"):
            self._write(iter(events(request["model"])))
        else:
            self._transport.write(whole(request["model"]))

    def _cut_picture(self) -> None:
        """Cut the picture of a body out of it, but not its number: reading it would cost more than all else."""
        begin = self._body.find(DATA_URL.encode()) + len(DATA_URL)
        if begin >= len(DATA_URL) and self._body.startswith(encoded(), begin):
            del self._body[begin : begin + len(encoded())]

    def _write(self, parts: Iterator[bytes]) -> None:
        part = next(parts, None)
        if part is not None and not self._transport.is_closing():
            self._transport.write(part)
            asyncio.get_running_loop().call_soon(self._write, parts)


async def serve(port: int) -> None:
    """Serve on 127.0.0.1 until killed."""
    server = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
