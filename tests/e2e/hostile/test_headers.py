"""Headers over the limit, and invalid paths: refused with an error, or with a reset in HTTP/2."""

import asyncio
from typing import Any

import grpc
import httpx
import pytest

from tests.e2e.hostile.footprint import serves
from tests.e2e.hostile.wire import Answer, Http2, read_answer
from tests.e2e.stack import CALL_SECONDS, Stack

# Headers over the limit of the gateway, and headers between the limits of a service and of the gateway.
FAR_OVER = 200_000
OVER = {f"x-large-{number}": "x" * 1000 for number in range(60)}
MANY = 300
PATHS = ("/v1/usage", "/v1/models", "/health")


async def get(stack: Stack, path: str, *headers: tuple[str, str]) -> Answer:
    """A GET over HTTP/1.1."""
    reader, writer = await asyncio.open_connection("127.0.0.1", stack.port)
    try:
        lines = [f"GET {path} HTTP/1.1", "host: mesh", *(f"{name}: {value}" for name, value in headers), "", ""]
        writer.write("\r\n".join(lines).encode())
        return await read_answer(reader)
    finally:
        writer.transport.abort()


@pytest.mark.parametrize("path", PATHS)
async def test_headers_that_are_too_large_or_too_many_are_431(limited: Stack, path: str) -> None:
    large = await get(limited, path, ("x-large", "x" * FAR_OVER))
    many = await get(limited, path, *((f"x-{number}", "x") for number in range(MANY)))
    assert (large.status, large.reason) == (431, "HEADERS_TOO_LARGE")
    assert (many.status, many.reason) == (431, "HEADERS_TOO_LARGE")


async def test_headers_over_the_limit_of_a_service_are_431_too(limited: Stack, http: httpx.AsyncClient) -> None:
    # A server announces its limit on a new connection, and enforces it from then on.
    assert (await http.get("/v1/usage")).status_code == 200
    reply = await http.get("/v1/usage", headers=OVER)
    assert (reply.status_code, reply.json()["error"]["code"]) == (431, 431)
    assert reply.json()["error"]["details"][0]["reason"] == "HEADERS_TOO_LARGE"


async def test_metadata_over_the_limit_of_a_service_is_resource_exhausted(
    limited: Stack, channel: grpc.aio.Channel
) -> None:
    recall: Any = channel.unary_unary("/soma.memory.v1.MemoryService/Recall", request_serializer=bytes)
    with pytest.raises(grpc.aio.AioRpcError):
        await recall(b"", metadata=limited.metadata, timeout=CALL_SECONDS)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await recall(b"", metadata=(*limited.metadata, *OVER.items()), timeout=CALL_SECONDS)
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_headers_over_the_limit_of_http2_end_only_their_own_stream(limited: Stack) -> None:
    async with Http2.open(limited) as connection, asyncio.timeout(CALL_SECONDS):
        before = connection.request("GET", "/health")
        many = connection.request("GET", "/v1/usage", *((f"x-{number}", "x") for number in range(MANY)))
        large = connection.request("GET", "/v1/models", *((f"x-{number}", "x" * 1000) for number in range(150)))
        after = connection.request("GET", "/health")
        connection.flush()
        answers = await connection.ended(before, many, large, after)
    assert [answer.status for answer in answers] == [200, 0, 0, 200]
    assert [answer.reset is not None for answer in answers] == [False, True, True, False]
    await serves(limited)


@pytest.mark.parametrize(
    "forged", [("x-soma-principal", "forged"), ("authorization", "Bearer wrong"), ("grpc-timeout", "1n")]
)
async def test_forged_headers_after_a_body_are_ignored(limited: Stack, forged: tuple[str, str]) -> None:
    async with Http2.open(limited) as connection, asyncio.timeout(CALL_SECONDS):
        stream = connection.request("POST", "/v1/remember", ("content-type", "application/json"), end=False)
        connection.h2.send_data(stream, b'{"key": "behind", "value": {"text": "a body"}}')
        connection.h2.send_headers(stream, [forged], end_stream=True)
        connection.flush()
        (answer,) = await connection.ended(stream)
    assert (answer.status, answer.reset) == (200, None)


@pytest.mark.parametrize("path", ["/v1/recall/%00", "/v1/models/%00", "/v1/recall/a%00b"])
@pytest.mark.parametrize("ids", [(), (("x-request-id", "mine"),)], ids=["no id", "an id of its own"])
async def test_an_invalid_path_is_refused_with_a_message(
    limited: Stack, path: str, ids: tuple[tuple[str, str], ...]
) -> None:
    answer = await get(limited, path, *ids)
    assert (answer.status, answer.reason) == (400, "BAD_REQUEST")
    assert b"a path or host that cannot be" in answer.body


@pytest.mark.parametrize("version", ["HTTP/1.0", "HTTP/9.9"])
async def test_a_version_that_is_not_1_1_is_answered_as_1_0(limited: Stack, version: str) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", limited.port)
    try:
        writer.write(f"GET /v1/usage {version}\r\n\r\n".encode())
        async with asyncio.timeout(CALL_SECONDS):
            answer = await reader.read()
    finally:
        writer.transport.abort()
    assert answer.startswith(b"HTTP/1.0 401 "), answer


@pytest.mark.parametrize(
    "head",
    [
        "GET /v1/usage HTTP/1.1\r\nhost: mesh\r\nbad header\r\n\r\n",
        "GET /v1/usage HTTP/1.1\r\n\r\n",
        "POST /v1/remember HTTP/1.1\r\nhost: mesh\r\ncontent-length: -1\r\n\r\n",
        "POST /v1/remember HTTP/1.1\r\nhost: mesh\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        "POST /v1/remember HTTP/1.1\r\nhost: mesh\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST /v1/remember HTTP/1.1\r\nhost: mesh\r\ntransfer-encoding: chunked\r\n\r\nnot a length\r\n",
    ],
    ids=["no colon", "no host", "negative length", "two lengths", "length and chunks", "no chunk"],
)
async def test_an_invalid_http_request_is_refused(limited: Stack, head: str) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", limited.port)
    try:
        writer.write(head.encode())
        async with asyncio.timeout(CALL_SECONDS):
            answer = await read_answer(reader)
    finally:
        writer.transport.abort()
    assert answer.status in (400, 501), answer
    assert answer.reason
