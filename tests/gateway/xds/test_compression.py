"""Long answers are compressed for HTTP clients that accept gzip; events and gRPC messages never are."""

import gzip
import json

import grpc
import httpx
import pytest
from soma.testing.v1 import echo_service_pb2 as pb
from soma.testing.v1.echo_service_pb2_grpc import EchoServiceStub

from tests.gateway.backends import Echo, edge, serving
from tests.gateway.conftest import ECHO, Gateway

REST = "/v1/testing/echo"
GZIP = {"accept-encoding": "gzip"}
LONG, SHORT = "long " * 1000, "short"


async def raw(envoy: Gateway, text: str, headers: dict[str, str]) -> tuple[httpx.Response, bytes]:
    """An answer of EchoService, and its body as it came over the wire."""
    async with envoy.http.stream("POST", REST, json={"text": text}, headers=headers) as answer:
        return answer, b"".join([chunk async for chunk in answer.aiter_raw()])


async def test_long_json_is_compressed_if_the_client_accepts_it(envoy: Gateway) -> None:
    async with serving(Echo()) as backend:
        await envoy.publish(services={ECHO: (backend,)})
        answer, content = await raw(envoy, LONG, GZIP)
    assert answer.headers["content-encoding"] == "gzip"
    assert "accept-encoding" in answer.headers["vary"].lower()
    assert len(content) < 500
    assert json.loads(gzip.decompress(content))["text"] == LONG


@pytest.mark.parametrize(
    ("text", "accepts"), [(SHORT, "gzip"), (LONG, "identity"), (LONG, "gzip;q=0"), (LONG, "br"), (LONG, "")]
)
async def test_short_answers_and_those_for_other_clients_are_not_compressed(
    envoy: Gateway, text: str, accepts: str
) -> None:
    async with serving(Echo()) as backend:
        await envoy.publish(services={ECHO: (backend,)})
        answer, content = await raw(envoy, text, {"accept-encoding": accepts})
    assert "content-encoding" not in answer.headers
    assert json.loads(content)["text"] == text


async def test_pages_and_the_edges_answers_are_compressed_too(envoy: Gateway) -> None:
    async with edge("/openapi.json", "/v1/models") as front:
        await envoy.publish(control_http=(front,), http={"edge": (front,)})
        for path in ("/openapi.json", "/v1/models"):
            answer = await envoy.http.get(path, headers={**GZIP, "x-long": LONG.strip()})
            assert answer.headers["content-encoding"] == "gzip"
            assert answer.json()["headers"]["x-long"] == LONG.strip()


async def test_an_event_stream_is_not_compressed(envoy: Gateway) -> None:
    servicer = Echo()
    async with serving(servicer) as backend:
        await envoy.publish(services={ECHO: (backend,)})
        body = {"text": "wait", "script": {"count": 2}}
        async with envoy.http.stream("POST", f"{REST}:stream", json=body, headers=GZIP) as answer:
            assert "content-encoding" not in answer.headers
            events = answer.aiter_text()
            assert '"sequence":0' in await anext(events)
            servicer.release.set()
            assert '"sequence":1' in "".join([event async for event in events])


async def test_grpc_messages_are_not_compressed_by_envoy(envoy: Gateway) -> None:
    async with serving(Echo()) as backend:
        await envoy.publish(services={ECHO: (backend,)})
        call = EchoServiceStub(envoy.channel).Echo(
            pb.EchoRequest(text=LONG), metadata=(("accept-encoding", "gzip"),), timeout=10
        )
        answer = await call
    assert answer.text == LONG
    assert "content-encoding" not in dict(await call.initial_metadata())
    assert await call.code() is grpc.StatusCode.OK
