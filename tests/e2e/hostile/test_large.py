"""A body over the limit of its path, sent with common clients: each can read that the body is too large."""

import asyncio
import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import httpx
import pytest
from openai import APIStatusError

from services.mesh.call.status import from_rpc_error
from tests.e2e.hostile.footprint import Footprint
from tests.e2e.hostile.wire import Answer, Http2, read_answer
from tests.e2e.stack import CALL_SECONDS, Stack, command
from tests.e2e.test_commands import needs_curl

BODY = b'{"key": "a", "value": "' + b"x" * 10_000_000 + b'"}'
REST, OPENAI = "/v1/remember", "/v1/chat/completions"
# OpenAI's paths take pictures, and so larger bodies.
BODIES = {REST: BODY, OPENAI: b'{"model": "' + b"x" * 40_000_000 + b'"}'}
CODES = {REST: "PAYLOAD_TOO_LARGE", OPENAI: "BODY_TOO_LARGE"}
Send = Callable[[Stack, str, Path], Awaitable[tuple[int, bytes]]]


def headers(stack: Stack) -> dict[str, str]:
    """The headers of every request."""
    return {"authorization": f"Bearer {stack.key}", "content-type": "application/json"}


def curl(*options: str) -> Send:
    """curl, which sends `Expect: 100-continue` by default."""

    async def send(stack: Stack, path: str, file: Path) -> tuple[int, bytes]:
        named = [part for name, value in headers(stack).items() for part in ("-H", f"{name}: {value}")]
        write = ("-w", "\n%{http_code}", "--data-binary", f"@{file}")
        ended = await command("curl", "-sS", *options, *named, *write, f"{stack.url}{path}")
        assert ended.status == 0, ended.errors
        body, _, status = ended.output.rpartition("\n")
        return int(status), body.encode()

    return send


async def by_urllib(stack: Stack, path: str, _: Path) -> tuple[int, bytes]:
    """urllib, which writes the whole body before it reads."""

    def send() -> tuple[int, bytes]:
        request = urllib.request.Request(f"{stack.url}{path}", BODIES[path], headers(stack))
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request, timeout=CALL_SECONDS)
        with refused.value as answer:
            return answer.code, answer.read()

    return await asyncio.to_thread(send)


async def by_http_client(stack: Stack, path: str, _: Path) -> tuple[int, bytes]:
    """http.client, with a chunked body."""

    def send() -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", stack.port, timeout=CALL_SECONDS)
        body = BODIES[path]
        pieces = (body[at : at + 65536] for at in range(0, len(body), 65536))
        connection.request("POST", path, pieces, headers(stack), encode_chunked=True)
        answer = connection.getresponse()
        whole = answer.status, answer.read()
        connection.close()
        return whole

    return await asyncio.to_thread(send)


def by_httpx(*, http2: bool) -> Send:
    """httpx, over HTTP/1.1 or HTTP/2."""

    async def send(stack: Stack, path: str, _: Path) -> tuple[int, bytes]:
        async with httpx.AsyncClient(http1=not http2, http2=http2, timeout=CALL_SECONDS) as client:
            answer = await client.post(f"{stack.url}{path}", content=BODIES[path], headers=headers(stack))
        return answer.status_code, answer.content

    return send


async def by_aiohttp(stack: Stack, path: str, file: Path) -> tuple[int, bytes]:
    """aiohttp, which streams the file."""
    async with aiohttp.ClientSession() as session:
        with file.open("rb") as body:
            async with session.post(f"{stack.url}{path}", data=body, headers=headers(stack)) as answer:
                return answer.status, await answer.read()


CLIENTS: dict[str, Send] = {
    "curl": curl("--http1.1"),
    "curl without a question": curl("--http1.1", "-H", "expect:"),
    "curl in chunks": curl("--http1.1", "-H", "transfer-encoding: chunked"),
    "curl over HTTP/2": curl("--http2-prior-knowledge"),
    "urllib": by_urllib,
    "http.client": by_http_client,
    "httpx": by_httpx(http2=False),
    "httpx over HTTP/2": by_httpx(http2=True),
    "aiohttp": by_aiohttp,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with each body as a file."""
    return tmp_path_factory.mktemp("large")


@pytest.fixture
def file(folder: Path, path: str) -> Path:
    """The body as a file."""
    file = folder / f"{len(BODIES[path])}.json"
    if not file.exists():
        file.write_bytes(BODIES[path])
    return file


# httpx writes HTTP/2 in Python: for the larger body that takes as long as the stack allows for a request.
CASES = [
    pytest.param(path, send, id=f"{name}-{path}", marks=needs_curl if name.startswith("curl") else ())
    for path in (REST, OPENAI)
    for name, send in CLIENTS.items()
    if (path, name) != (OPENAI, "httpx over HTTP/2")
]


@pytest.mark.parametrize(("path", "send"), CASES)
async def test_a_client_reads_the_refusal_of_a_body_that_is_too_large(
    limited: Stack, file: Path, send: Send, path: str
) -> None:
    status, body = await send(limited, path, file)
    error: dict[str, Any] = json.loads(body)["error"]
    assert (status, Answer(status, {}, body).reason) == (413, CODES[path])
    assert error["message"]


async def test_openais_own_client_raises_it_as_a_status(limited: Stack) -> None:
    async with limited.openai() as client:
        with pytest.raises(APIStatusError) as refused:
            await client.chat.completions.create(
                model="fake-large", messages=[{"role": "user", "content": "x" * 40_000_000}]
            )
    assert (refused.value.status_code, refused.value.code) == (413, "body_too_large")


async def test_a_native_call_is_resource_exhausted(limited: Stack, channel: grpc.aio.Channel) -> None:
    recall: Any = channel.unary_unary("/soma.memory.v1.MemoryService/Recall", request_serializer=bytes)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await recall(BODY, metadata=limited.metadata, timeout=CALL_SECONDS)
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert from_rpc_error(refused.value).reason == "PAYLOAD_TOO_LARGE"


async def test_a_body_without_an_end_is_cut_off(checked: Stack) -> None:
    before = await Footprint.of(checked)

    async def endless(path: str) -> int:
        async with Http2.open(checked) as connection:
            stream = connection.request("POST", path, end=False)
            piece = b"x" * 1_000_000
            sent = 0
            while connection.answers[stream].reset is None and not connection.closed.is_set():
                await connection.upload(stream, piece, end=False)
                sent += len(piece)
            # The gateway may have no room for one more large body, before it knows that this one has no end; and on a
            # slow machine the time for a request is over first.
            assert connection.answers[stream].status in (408, 413, 503)
            return sent

    async with asyncio.timeout(CALL_SECONDS):
        sent = await asyncio.gather(*(endless(path) for path in (REST, OPENAI) for _ in range(4)))
    assert max(sent) < 80_000_000
    now = await Footprint.of(checked)
    assert now.grown_mib(before) < 200


async def test_a_body_announced_to_be_huge_is_refused_at_once(limited: Stack) -> None:
    for path in (REST, OPENAI):
        reader, writer = await asyncio.open_connection("127.0.0.1", limited.port)
        writer.write(f"POST {path} HTTP/1.1\r\nhost: mesh\r\nauthorization: Bearer {limited.key}\r\n".encode())
        writer.write(b"content-length: 99999999999\r\n\r\n{")
        try:
            async with asyncio.timeout(CALL_SECONDS):
                answer = await read_answer(reader)
        finally:
            writer.transport.abort()
        assert (answer.status, answer.reason) == (413, "PAYLOAD_TOO_LARGE")
