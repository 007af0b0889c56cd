"""Native gRPC, grpc-web and WebSocket through a real Envoy."""

import asyncio
import dataclasses

import grpc
import pytest
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status
from grpc_reflection.v1alpha import reflection, reflection_pb2, reflection_pb2_grpc
from soma.mesh.v1 import surface_pb2 as pb_surface
from soma.testing.v1 import echo_service_pb2 as pb
from soma.testing.v1 import echo_service_pb2_grpc as rpc

from gateway.xds.snapshot import Endpoint
from services.mesh.testing.waiting import until
from tests.gateway.backends import Echo, serving, silent, switching_protocols
from tests.gateway.conftest import ECHO, Gateway


def reason_of(error: grpc.aio.AioRpcError) -> str:
    """The reason in the details of a status; the details must have the same code and message."""
    value = dict(error.trailing_metadata())["grpc-status-details-bin"]
    status = Status.FromString(value)
    assert status.code == error.code().value[0]
    assert status.message == error.details()
    (detail,) = status.details
    info = ErrorInfo()
    assert detail.Unpack(info)
    assert info.domain == "soma"
    return str(info.reason)


async def test_all_four_kinds_of_call_pass(envoy: Gateway) -> None:
    async with serving(Echo()) as backend:
        await envoy.publish(services={ECHO: (backend,)})
        stub = rpc.EchoServiceStub(envoy.channel)
        unary = await stub.Echo(pb.EchoRequest(text="a"))
        streamed = [each.sequence async for each in stub.StreamEcho(pb.StreamEchoRequest(script=pb.Script(count=3)))]
        collected = await stub.CollectEchoes(pb.CollectEchoesRequest(text=text) for text in "abc")
        chat = stub.ChatEchoes()
        replies = []
        for text in "xyz":
            await chat.write(pb.ChatEchoesRequest(text=text))
            reply = await chat.read()
            assert isinstance(reply, pb.ChatEchoesResponse)
            replies.append(reply.text)
        await chat.done_writing()
        end = await chat.read()
    assert unary.text == "a"
    assert streamed == [0, 1, 2]
    assert collected.text == "abc"
    assert replies == ["x", "y", "z"]
    assert end is grpc.aio.EOF


async def test_a_deadline_and_metadata_reach_the_service(envoy: Gateway) -> None:
    async with serving(Echo()) as backend:
        await envoy.publish(services={ECHO: (backend,)})
        stub = rpc.EchoServiceStub(envoy.channel)
        traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        reply = await stub.Echo(
            pb.EchoRequest(text="a"), timeout=100, metadata=(("traceparent", traceparent), ("x-request-id", "mine"))
        )
    assert 60 < reply.observation.time_remaining_seconds < 110
    assert f"traceparent={traceparent}" in reply.observation.metadata
    assert "x-request-id=mine" in reply.observation.metadata


async def test_a_unary_call_without_a_deadline_ends_at_the_limit_even_if_the_service_is_stuck(envoy: Gateway) -> None:
    limits = dataclasses.replace(envoy.snapshot.limits, unary_timeout_seconds=0.2)
    async with silent() as backend:
        await envoy.publish(services={ECHO: (backend,)}, limits=limits)
        with pytest.raises(grpc.aio.AioRpcError) as native:
            await rpc.EchoServiceStub(envoy.channel).Echo(pb.EchoRequest(text="a"))
        rest = await envoy.http.post("/v1/testing/echo", json={"text": "a"})
    assert native.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert native.value.details() == "testing did not answer in time"
    assert reason_of(native.value) == "DEADLINE_EXCEEDED"
    assert rest.status_code == 504
    assert rest.json()["error"]["status"] == "DEADLINE_EXCEEDED"


async def test_streams_outlive_the_limit_of_unary_calls(envoy: Gateway) -> None:
    servicer = Echo()
    limits = dataclasses.replace(envoy.snapshot.limits, unary_timeout_seconds=0.1)
    async with serving(servicer) as backend:
        await envoy.publish(services={ECHO: (backend,)}, limits=limits)
        stub = rpc.EchoServiceStub(envoy.channel)
        stream = stub.StreamEcho(pb.StreamEchoRequest(text="wait", script=pb.Script(count=2)))
        request = {"text": "wait", "script": {"count": 2}}
        events = asyncio.create_task(envoy.http.post("/v1/testing/echo:stream", json=request))
        await until(lambda: servicer.active == 2)
        with pytest.raises(grpc.aio.AioRpcError) as unary:
            await stub.Echo(pb.EchoRequest(text="wait"))
        servicer.release.set()
        streamed = [message async for message in stream]
        sent = (await events).text.count("data: ")
    assert unary.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert len(streamed) == 2
    assert sent == 2


async def test_a_client_that_cancels_ends_the_call_in_the_service_at_once(envoy: Gateway) -> None:
    servicer = Echo()
    async with serving(servicer) as backend:
        await envoy.publish(services={ECHO: (backend,)})
        async with envoy.http.stream(
            "POST", "/v1/testing/echo:stream", json={"text": "wait", "script": {"count": 2}}
        ) as reply:
            await anext(reply.aiter_text())
            assert servicer.active == 1
        await servicer.cancelled.wait()
    assert servicer.active == 0


async def test_reflection_and_health_are_answered_by_the_control_process(envoy: Gateway) -> None:
    server = grpc.aio.server()
    reflection.enable_server_reflection((ECHO, "soma.memory.v1.MemoryService"), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    await envoy.publish(control_grpc=(Endpoint("127.0.0.1", port),))
    stub = reflection_pb2_grpc.ServerReflectionStub(envoy.channel)
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    call = stub.ServerReflectionInfo(iter([request]))
    names = [service.name for service in (await call.read()).list_services_response.service]
    call.cancel()
    await server.stop(None)
    assert set(names) == {ECHO, "soma.memory.v1.MemoryService"}


async def test_an_unknown_service_is_unimplemented_with_a_reason(envoy: Gateway) -> None:
    go: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = envoy.channel.unary_unary("/soma.nowhere.v1.NowhereService/Go")
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await go(b"")
    assert failure.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert failure.value.details() == "no such service"
    assert reason_of(failure.value) == "UNKNOWN_SERVICE"


async def test_grpc_web_is_answered_with_trailers_in_the_body(envoy: Gateway) -> None:
    message = pb.EchoRequest(text="web").SerializeToString()
    frame = b"\0" + len(message).to_bytes(4, "big") + message
    async with serving(Echo()) as backend:
        await envoy.publish(services={ECHO: (backend,)})
        headers = {"content-type": "application/grpc-web+proto", "x-grpc-web": "1"}
        known = await envoy.http.post(f"/{ECHO}/Echo", content=frame, headers=headers)
        unknown = await envoy.http.post("/soma.nowhere.v1.NowhereService/Go", content=frame, headers=headers)
    size = int.from_bytes(known.content[1:5], "big")
    assert pb.EchoResponse.FromString(known.content[5 : 5 + size]).text == "web"
    assert b"grpc-status:0" in known.content[5 + size :]
    assert unknown.headers["grpc-status"] == "12"


async def test_a_websocket_reaches_the_edge_and_sends_bytes_both_ways(envoy: Gateway) -> None:
    async with switching_protocols() as front:
        socket = pb_surface.Surface(service="edge", name="echo", sockets=["/ws/echo"])
        await envoy.publish(http={"edge": (front,)}, surfaces=(socket,))
        reader, writer = await asyncio.open_connection("127.0.0.1", envoy.port)
        writer.write(b"GET /ws/echo HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        writer.write(b"over the wire")
        echoed = await reader.readexactly(13)
        writer.close()
        await writer.wait_closed()
    assert head.startswith(b"HTTP/1.1 101 ")
    assert echoed == b"over the wire"
