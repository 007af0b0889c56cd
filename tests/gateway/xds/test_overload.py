"""Limits: a call over a limit is refused at once, and never queued."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator

import grpc
import pytest
from soma.testing.v1 import echo_service_pb2 as pb
from soma.testing.v1 import echo_service_pb2_grpc as rpc

from services.mesh.testing.waiting import until
from tests.gateway.backends import Echo, serving, stalling
from tests.gateway.conftest import ECHO, Gateway
from tests.gateway.xds.test_native import reason_of
from tests.gateway.xds.test_rest import PATH, error_of


async def test_calls_over_the_limit_are_refused_at_once_with_a_time_to_retry(envoy: Gateway) -> None:
    servicer = Echo()
    limits = dataclasses.replace(envoy.snapshot.limits, max_requests=3)
    async with serving(servicer) as backend:
        await envoy.publish(services={ECHO: (backend,)}, limits=limits)
        busy = [asyncio.create_task(envoy.http.post(PATH, json={"text": "wait"})) for _ in range(3)]
        await until(lambda: servicer.active == 3)
        rest = await envoy.http.post(PATH, json={"text": "a"})
        with pytest.raises(grpc.aio.AioRpcError) as native:
            await rpc.EchoServiceStub(envoy.channel).Echo(pb.EchoRequest(text="a"))
        servicer.release.set()
        served = await asyncio.gather(*busy)
        later = await envoy.http.post(PATH, json={"text": "a"})
    assert rest.status_code == 503
    assert rest.headers["retry-after"] == "1"
    assert error_of(rest)["details"][0]["reason"] == "OVERLOADED"
    assert native.value.code() is grpc.StatusCode.UNAVAILABLE
    assert reason_of(native.value) == "OVERLOADED"
    assert [reply.status_code for reply in served] == [200, 200, 200]
    assert later.status_code == 200


async def test_requests_to_the_edge_over_the_limit_are_refused_at_once(envoy: Gateway) -> None:
    limits = dataclasses.replace(envoy.snapshot.limits, max_requests=2)
    release = asyncio.Event()
    async with stalling(release) as (front, inside):
        await envoy.publish(http={"edge": (front,)}, limits=limits)
        busy = [asyncio.create_task(envoy.http.get("/v1/models")) for _ in range(2)]
        await until(lambda: len(inside) == 2)
        refused = [await envoy.http.get("/v1/models") for _ in range(3)]
        release.set()
        served = await asyncio.gather(*busy)
    assert [reply.status_code for reply in refused] == [503] * 3
    assert {reply.headers["retry-after"] for reply in refused} == {"1"}
    assert {reply.json()["error"]["code"] for reply in refused} == {"overloaded"}
    assert [reply.status_code for reply in served] == [200, 200]


async def test_a_burst_of_first_calls_to_a_service_is_served(envoy: Gateway) -> None:
    async with serving(Echo()) as backend:
        await envoy.publish(services={ECHO: (backend,)})
        stub = rpc.EchoServiceStub(envoy.channel)
        replies = await asyncio.gather(*(stub.Echo(pb.EchoRequest(text=str(number))) for number in range(600)))
    assert [reply.text for reply in replies] == [str(number) for number in range(600)]


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_far_over_the_limit_is_refused_before_it_is_collected(envoy: Gateway, chunked: bool) -> None:
    limits = dataclasses.replace(envoy.snapshot.limits, max_request_bytes=50_000)
    async with serving(Echo()) as backend:
        await envoy.publish(services={ECHO: (backend,)}, limits=limits)
        reader, writer = await asyncio.open_connection("127.0.0.1", envoy.port)
        length = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: 10000000"
        writer.write(b"POST %s HTTP/1.1\r\nHost: x\r\n%s\r\n\r\n" % (PATH.encode(), length))
        piece = b'{"text": "' + b"x" * 210_000
        # The rest of the body is never sent, so the answer must not wait for it.
        writer.write(b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece)
        status = await reader.readline()
        writer.close()
    assert status.startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_client_may_finish_writing_a_body_that_is_too_large_and_reads_the_refusal(
    envoy: Gateway, chunked: bool
) -> None:
    limits = dataclasses.replace(envoy.snapshot.limits, max_request_bytes=50_000)
    async with serving(Echo()) as backend:
        await envoy.publish(services={ECHO: (backend,)}, limits=limits)
        reader, writer = await asyncio.open_connection("127.0.0.1", envoy.port)
        body = b'{"text": "' + b"x" * 150_000 + b'"}'
        if chunked:
            writer.write(b"POST %s HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" % PATH.encode())
            body = b"%x\r\n%s\r\n" % (len(body), body)
        else:
            writer.write(b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (PATH.encode(), len(body)))
        writer.write(body)
        await writer.drain()
        answered = asyncio.create_task(reader.readline())
        if chunked:
            done, _ = await asyncio.wait({answered}, timeout=0.2)
            assert not done
            writer.write(b"0\r\n\r\n")
        status = await answered
        writer.close()
    assert status.startswith(b"HTTP/1.1 413 ")


async def test_a_request_that_arrives_too_slowly_ends_and_one_that_is_being_answered_goes_on(envoy: Gateway) -> None:
    limits = dataclasses.replace(envoy.snapshot.limits, request_timeout_seconds=1)

    async def slowly() -> AsyncIterator[pb.CollectEchoesRequest]:
        yield pb.CollectEchoesRequest(text="a")
        await asyncio.sleep(30)

    async with serving(Echo()) as backend:
        await envoy.publish(services={ECHO: (backend,)}, limits=limits)
        stub = rpc.EchoServiceStub(envoy.channel)
        chat = stub.ChatEchoes()
        await chat.write(pb.ChatEchoesRequest(text="first"))
        assert isinstance(await chat.read(), pb.ChatEchoesResponse)
        with pytest.raises(grpc.aio.AioRpcError) as late:
            await stub.CollectEchoes(slowly())
        # By now the other call has taken longer than the limit of a request.
        await chat.write(pb.ChatEchoesRequest(text="second"))
        assert isinstance(await chat.read(), pb.ChatEchoesResponse)
        await chat.done_writing()
        assert await chat.read() is grpc.aio.EOF
    assert late.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert reason_of(late.value) == "REQUEST_TIMEOUT"
