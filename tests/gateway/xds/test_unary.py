"""Unary calls over HTTP/1.1 through a real Envoy."""

import asyncio
import json
from collections.abc import AsyncIterator

import grpc
import pytest
from soma.testing.v1 import echo_service_pb2 as pb
from soma.testing.v1 import echo_service_pb2_grpc as rpc

from gateway.xds.snapshot import Endpoint
from services.mesh.call.handlers import collect
from services.mesh.call.interceptors.deadline import deadline
from services.mesh.call.pipeline import Pipeline
from services.mesh.testing.echo import EchoServicer
from services.mesh.testing.waiting import until
from services.mesh.transport.unary.server import UnaryServer
from tests.gateway.backends import Echo, serving
from tests.gateway.conftest import ECHO, Gateway

OVER_HTTP1 = frozenset({ECHO})


@pytest.fixture
async def unary() -> AsyncIterator[Endpoint]:
    """EchoService on a server of unary calls over HTTP/1.1."""
    handlers = Pipeline((deadline,)).wrap_all(collect([(rpc.add_EchoServiceServicer_to_server, EchoServicer())]))
    server = UnaryServer(handlers, max_message_bytes=4 * 1024 * 1024)
    yield Endpoint("127.0.0.1", await server.start("127.0.0.1"))
    await server.stop()


async def test_unary_calls_and_streams_of_a_service_go_to_different_servers(envoy: Gateway, unary: Endpoint) -> None:
    async with serving(Echo("by gRPC ")) as backend:
        await envoy.publish(services={ECHO: (backend,)}, unary={ECHO: (unary,)}, over_http1=OVER_HTTP1)
        stub = rpc.EchoServiceStub(envoy.channel)
        one = await stub.Echo(pb.EchoRequest(text="one"))
        rest = await envoy.http.post("/v1/testing/echo", json={"text": "rest"})
        many = [each.text async for each in stub.StreamEcho(pb.StreamEchoRequest(text="many"))]
        collected = await stub.CollectEchoes(pb.CollectEchoesRequest(text=text) for text in "abc")
    assert (one.text, rest.json()["text"], many, collected.text) == ("one", "rest", ["by gRPC many"], "abc")

    def lines() -> list[dict[str, str]]:
        return [json.loads(line) for line in envoy.access_log.read_text().splitlines()]

    await until(lambda: envoy.access_log.exists() and len(lines()) == 4)
    assert sorted(line["cluster"] for line in lines()) == [ECHO, ECHO, f"{ECHO}/unary", f"{ECHO}/unary"]


async def test_no_call_is_lost_when_unary_calls_change_between_http1_and_grpc(envoy: Gateway, unary: Endpoint) -> None:
    lost: list[str] = []
    answered = 0
    over = asyncio.Event()

    async with serving(Echo()) as backend:
        services = {ECHO: (backend,)}
        await envoy.publish(services=services, unary={ECHO: (unary,)})
        stub = rpc.EchoServiceStub(envoy.channel)

        async def ask() -> None:
            nonlocal answered
            while not over.is_set():
                try:
                    await stub.Echo(pb.EchoRequest(text="x", script=pb.Script(delay_seconds=0.001)))
                    answered += 1
                except grpc.aio.AioRpcError as error:
                    lost.append(f"{error.code().name}: {error.details()}")

        asking = [asyncio.create_task(ask()) for _ in range(6)]
        for turn in range(10):
            before = answered
            await envoy.publish(over_http1=frozenset() if turn % 2 else OVER_HTTP1)
            await until(lambda before=before: answered > before + 50)  # type: ignore[misc]
        over.set()
        await asyncio.gather(*asking)
    assert lost == []


@pytest.mark.parametrize("verb", ["GET", "PUT"])
async def test_a_call_is_a_post(envoy: Gateway, unary: Endpoint, verb: str) -> None:
    await envoy.publish(unary={ECHO: (unary,)}, over_http1=OVER_HTTP1)
    answer = await envoy.http.request(verb, f"/{ECHO}/Echo", headers={"content-type": "application/grpc"}, content=b"")
    assert (answer.headers["grpc-message"], answer.headers["allow"]) == ("gRPC is POST", "POST")
    assert answer.headers["grpc-status"] == "2"
