"""HTTP/1.0, which a proxy in front of the gateway may speak: answers, bodies, streams, and kept connections."""

import asyncio
import json

import pytest

from tests.gateway.backends import Echo, edge, serving
from tests.gateway.conftest import ECHO, Gateway

PATH = "/v1/testing/echo"


async def send(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: str, body: str = "") -> None:
    """Send a request with a content-length header."""
    length = f"content-length: {len(body)}\r\n" if body else ""
    writer.write(f"{head}\r\n{length}\r\n{body}".encode())
    await writer.drain()


async def answer_of(envoy: Gateway, head: str, body: str = "") -> tuple[str, str]:
    """The head and the body of the answer to a request, read until the connection ends."""
    reader, writer = await asyncio.open_connection("127.0.0.1", envoy.port)
    await send(reader, writer, head, body)
    async with asyncio.timeout(10):
        answer = (await reader.read()).decode()
    writer.close()
    head, _, rest = answer.partition("\r\n\r\n")
    return head.lower(), rest


@pytest.mark.parametrize("named", ["", "\r\nhost: mesh"])
async def test_a_request_is_answered_completely_and_the_connection_is_closed(envoy: Gateway, named: str) -> None:
    async with serving(Echo()) as backend, edge("/health", "/v1/models") as http:
        await envoy.publish(services={ECHO: (backend,)}, control_http=(http,), http={"edge": (http,)})
        for path in ("/health", "/v1/models"):
            head, body = await answer_of(envoy, f"GET {path} HTTP/1.0{named}")
            assert head.startswith("http/1.0 200 "), head
            assert json.loads(body)["path"] == path
        head, body = await answer_of(envoy, f"POST {PATH} HTTP/1.0{named}", '{"text": "old"}')
    assert " 200 " in head
    assert "transfer-encoding" not in head
    assert json.loads(body)["text"] == "old"


async def test_an_error_has_the_usual_shape(envoy: Gateway) -> None:
    head, body = await answer_of(envoy, "GET /v2/nothing HTTP/1.0")
    assert " 404 " in head
    assert json.loads(body)["error"]["status"] == "NOT_FOUND"


async def test_a_stream_has_no_chunks_and_ends_when_its_connection_is_closed(envoy: Gateway) -> None:
    servicer = Echo()
    async with serving(servicer) as backend:
        await envoy.publish(services={ECHO: (backend,)})
        reader, writer = await asyncio.open_connection("127.0.0.1", envoy.port)
        await send(reader, writer, f"POST {PATH}:stream HTTP/1.0", '{"text": "wait", "script": {"count": 2}}')
        async with asyncio.timeout(10):
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            first = await reader.readuntil(b"\n\n")
            # The backend sends the second event only after this, so the first was not held back.
            servicer.release.set()
            rest = await reader.read()
        writer.close()
    assert "text/event-stream" in head
    assert "transfer-encoding" not in head
    assert [json.loads(event.removeprefix(b"data: "))["sequence"] for event in (first, rest)] == [0, 1]


async def test_a_connection_is_kept_open_if_the_client_asks_for_it(envoy: Gateway) -> None:
    async with serving(Echo()) as backend:
        await envoy.publish(services={ECHO: (backend,)})
        reader, writer = await asyncio.open_connection("127.0.0.1", envoy.port)
        for text in ("one", "two"):
            await send(reader, writer, f"POST {PATH} HTTP/1.0\r\nconnection: keep-alive", json.dumps({"text": text}))
            async with asyncio.timeout(10):
                head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
                length = int(head.partition("content-length: ")[2].partition("\r\n")[0])
                assert json.loads(await reader.readexactly(length))["text"] == text
        writer.close()


async def test_http_1_1_still_needs_a_host_header(envoy: Gateway) -> None:
    head, body = await answer_of(envoy, f"POST {PATH} HTTP/1.1\r\nconnection: close", "{}")
    assert " 400 " in head
    assert json.loads(body)["error"]["status"] == "INVALID_ARGUMENT"
