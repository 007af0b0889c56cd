"""Native gRPC through the public port: every kind of call, with deadlines, metadata, errors and compression."""

import asyncio
import gzip
import json
import uuid
from collections.abc import AsyncIterator

import grpc
import httpx
import pytest
from soma.testing.v1 import echo_service_pb2 as pb
from soma.testing.v1.echo_service_pb2_grpc import EchoServiceStub

from services.mesh.call.status import from_rpc_error
from services.mesh.testing.waiting import until
from tests.clients.calls import ECHO
from tests.e2e.stack import CALL_SECONDS, Stack

MIB = 1024 * 1024
FAILED = pb.Script(fail_code=grpc.StatusCode.FAILED_PRECONDITION.value[0], fail_message="as told")


async def active(stack: Stack, method: str) -> float:
    """The number of calls in progress of a method of EchoService."""
    return await stack.measured("rpc_server_active_calls", {"rpc_method": f"{ECHO}/{method}"})


async def ended(stack: Stack, method: str, code: str) -> float:
    """The number of its calls that ended with a code."""
    labels = {"rpc_method": f"{ECHO}/{method}", "rpc_response_status_code": code}
    return await stack.measured("rpc_server_call_duration_seconds_count", labels)


async def sent(stack: Stack, request_id: str) -> int:
    """The size of the body with which the gateway answered a call, in bytes."""
    found: list[int] = []

    async def logged() -> bool:
        lines = (stack.data_dir / "logs" / "access.log").read_text().splitlines()
        found[:] = [json.loads(line)["bytes_sent"] for line in lines if request_id in line]
        return bool(found)

    await until(logged)
    return found[0]


async def test_a_message_is_answered_with_one(echo: Stack, channel: grpc.aio.Channel) -> None:
    call = EchoServiceStub(channel).Echo(pb.EchoRequest(text="a"), metadata=echo.metadata, timeout=CALL_SECONDS)
    answer = await call
    assert answer.text == "a"
    assert answer.observation.subject == "dev"


async def test_a_message_is_answered_with_many_which_arrive_one_by_one(echo: Stack, channel: grpc.aio.Channel) -> None:
    script = pb.Script(count=3, interval_seconds=0.2)
    call = EchoServiceStub(channel).StreamEcho(
        pb.StreamEchoRequest(text="a", script=script), metadata=echo.metadata, timeout=CALL_SECONDS
    )
    loop = asyncio.get_running_loop()
    arrivals = [(answer.sequence, loop.time()) async for answer in call]
    assert [sequence for sequence, _ in arrivals] == [0, 1, 2]
    assert arrivals[1][1] - arrivals[0][1] > 0.1


async def test_many_messages_are_answered_with_one(echo: Stack, channel: grpc.aio.Channel) -> None:
    async def upload() -> AsyncIterator[pb.CollectEchoesRequest]:
        for text in "abc":
            yield pb.CollectEchoesRequest(text=text, last=text == "c")

    answer = await EchoServiceStub(channel).CollectEchoes(upload(), metadata=echo.metadata, timeout=CALL_SECONDS)
    assert (answer.count, answer.text, answer.complete) == (3, "abc", True)


async def test_both_sides_send_messages_in_turn(echo: Stack, channel: grpc.aio.Channel) -> None:
    call = EchoServiceStub(channel).ChatEchoes(metadata=echo.metadata, timeout=CALL_SECONDS)
    for text in ("x", "y", "z"):
        await call.write(pb.ChatEchoesRequest(text=text))
        answer = await call.read()
        assert isinstance(answer, pb.ChatEchoesResponse)
        assert answer.text == text
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF
    assert await call.code() is grpc.StatusCode.OK


async def test_a_deadline_reaches_the_service_and_ends_its_work(echo: Stack, channel: grpc.aio.Channel) -> None:
    stub = EchoServiceStub(channel)
    seen = await stub.Echo(pb.EchoRequest(text="a"), metadata=echo.metadata, timeout=100)
    assert 60 < seen.observation.time_remaining_seconds < 101
    slow = pb.EchoRequest(text="a", script=pb.Script(delay_seconds=60))
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await stub.Echo(slow, metadata=echo.metadata, timeout=0.3)
    assert failure.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED

    async def idle() -> bool:
        return await active(echo, "Echo") == 0

    await until(idle)


async def test_a_client_that_cancels_ends_the_services_work(echo: Stack, channel: grpc.aio.Channel) -> None:
    stub = EchoServiceStub(channel)
    before = await ended(echo, "StreamEcho", "CANCELLED")
    endless = pb.StreamEchoRequest(text="a", script=pb.Script(count=1_000_000, interval_seconds=0.05))
    stream = stub.StreamEcho(endless, metadata=echo.metadata, timeout=CALL_SECONDS)
    chat = stub.ChatEchoes(metadata=echo.metadata, timeout=CALL_SECONDS)
    await chat.write(pb.ChatEchoesRequest(text="x"))
    await asyncio.gather(stream.read(), chat.read())
    assert await active(echo, "StreamEcho") == await active(echo, "ChatEchoes") == 1
    stream.cancel()
    chat.cancel()

    async def idle() -> bool:
        return await active(echo, "StreamEcho") == await active(echo, "ChatEchoes") == 0

    await until(idle)
    assert await ended(echo, "StreamEcho", "CANCELLED") == before + 1


async def test_metadata_goes_both_ways_before_and_after_the_answer(echo: Stack, channel: grpc.aio.Channel) -> None:
    sent = (("x-test-initial", "first"), ("x-test-trailing", "last"), ("x-test-trailing-bin", b"\x00\xff"))
    call = EchoServiceStub(channel).Echo(
        pb.EchoRequest(text="a"), metadata=(*echo.metadata, *sent), timeout=CALL_SECONDS
    )
    await call
    assert dict(await call.initial_metadata())["x-test-initial"] == "first"
    trailing = dict(await call.trailing_metadata())
    assert (trailing["x-test-trailing"], trailing["x-test-trailing-bin"]) == ("last", b"\x00\xff")


async def test_a_failure_carries_its_reason_before_and_after_the_first_message(
    echo: Stack, channel: grpc.aio.Channel
) -> None:
    stub = EchoServiceStub(channel)
    with pytest.raises(grpc.aio.AioRpcError) as unary:
        await stub.Echo(pb.EchoRequest(text="a", script=FAILED), metadata=echo.metadata, timeout=CALL_SECONDS)
    late = pb.Script(fail_after=2, count=3)
    late.MergeFrom(FAILED)
    received = []
    call = stub.StreamEcho(pb.StreamEchoRequest(text="a", script=late), metadata=echo.metadata, timeout=CALL_SECONDS)
    with pytest.raises(grpc.aio.AioRpcError) as streamed:
        async for answer in call:
            received.append(answer.sequence)
    assert received == [0, 1]
    for failure in (unary.value, streamed.value):
        assert failure.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert failure.details() == "as told"
        assert from_rpc_error(failure).reason == "FAILED_PRECONDITION"


async def test_an_unexpected_error_is_internal_and_its_text_is_not_sent(echo: Stack, channel: grpc.aio.Channel) -> None:
    script = pb.Script(fail_message="the password is swordfish")
    setattr(script, "raise", True)
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await EchoServiceStub(channel).Echo(
            pb.EchoRequest(text="a", script=script), metadata=echo.metadata, timeout=CALL_SECONDS
        )
    assert failure.value.code() is grpc.StatusCode.INTERNAL
    assert "swordfish" not in str(failure.value)


@pytest.mark.parametrize("compression", [grpc.Compression.Gzip, grpc.Compression.Deflate])
async def test_a_client_may_compress_what_it_sends(
    echo: Stack, channel: grpc.aio.Channel, compression: grpc.Compression
) -> None:
    stub = EchoServiceStub(channel)
    text = "a" * MIB
    whole = await stub.Echo(
        pb.EchoRequest(text=text), metadata=echo.metadata, timeout=CALL_SECONDS, compression=compression
    )
    assert whole.text == text
    chat = stub.ChatEchoes(metadata=echo.metadata, timeout=CALL_SECONDS, compression=compression)
    await chat.write(pb.ChatEchoesRequest(text=text))
    answer = await chat.read()
    assert isinstance(answer, pb.ChatEchoesResponse)
    assert answer.text == text


@pytest.mark.parametrize(
    ("compression", "fewest", "most"),
    [
        (grpc.Compression.NoCompression, MIB, 2 * MIB),
        (grpc.Compression.Gzip, 1, 20_000),
        (grpc.Compression.Deflate, MIB, 2 * MIB),
    ],
)
async def test_a_client_that_sends_and_accepts_gzip_is_answered_in_gzip(
    echo: Stack, channel: grpc.aio.Channel, compression: grpc.Compression, fewest: int, most: int
) -> None:
    stub = EchoServiceStub(channel)
    script = pb.Script(padding_bytes=MIB)
    unary, streamed = str(uuid.uuid4()), str(uuid.uuid4())
    answer = await stub.Echo(
        pb.EchoRequest(text="a", script=script),
        metadata=(*echo.metadata, ("x-request-id", unary)),
        timeout=CALL_SECONDS,
        compression=compression,
    )
    assert answer.padding == bytes(MIB)
    call = stub.StreamEcho(
        pb.StreamEchoRequest(text="a", script=script),
        metadata=(*echo.metadata, ("x-request-id", streamed)),
        timeout=CALL_SECONDS,
        compression=compression,
    )
    assert [len(each.padding) async for each in call] == [MIB]
    for request_id in (unary, streamed):
        assert fewest <= await sent(echo, request_id) <= most


async def test_a_client_that_sends_gzip_gets_it_only_if_it_accepts_it(echo: Stack) -> None:
    message = gzip.compress(pb.EchoRequest(text="a" * 2000).SerializeToString())
    frame = b"\1" + len(message).to_bytes(4, "big") + message
    headers = {"content-type": "application/grpc", "te": "trailers", "grpc-encoding": "gzip", **dict(echo.metadata)}
    packed: list[int] = []
    async with httpx.AsyncClient(base_url=echo.url, http1=False, http2=True, timeout=CALL_SECONDS) as http:
        for accepts in ({}, {"grpc-accept-encoding": "identity"}, {"grpc-accept-encoding": "identity,gzip"}):
            answer = await http.post(f"/{ECHO}/Echo", content=frame, headers={**headers, **accepts})
            packed.append(answer.content[0])
    assert packed == [0, 0, 1]


async def test_headers_of_a_rest_client_about_grpcs_compression_have_no_effect(echo: Stack) -> None:
    async with echo.http() as http:
        answer = await http.post("/v1/testing/echo", json={"text": "a" * 5000}, headers={"grpc-encoding": "gzip"})
    assert (answer.status_code, answer.json()["text"]) == (200, "a" * 5000)


@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
async def test_a_message_may_have_four_mebibytes_after_decompression(
    echo: Stack, channel: grpc.aio.Channel, compression: grpc.Compression
) -> None:
    stub = EchoServiceStub(channel)
    fits = pb.EchoRequest(text="a" * (4 * MIB - 64), script=pb.Script(fail_code=9))
    too_large = pb.EchoRequest(text="a" * (4 * MIB + 1))
    far_too_large = pb.EchoRequest(text="a" * (64 * MIB - 64))
    with pytest.raises(grpc.aio.AioRpcError) as read:
        await stub.Echo(fits, metadata=echo.metadata, timeout=CALL_SECONDS, compression=compression)
    assert read.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    for request in (too_large, far_too_large):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.Echo(request, metadata=echo.metadata, timeout=CALL_SECONDS, compression=compression)
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "larger than" in str(refused.value.details())


async def test_an_answer_may_be_larger_if_the_client_accepts_it(echo: Stack, channel: grpc.aio.Channel) -> None:
    request = pb.EchoRequest(text="a", script=pb.Script(padding_bytes=6 * MIB))
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await EchoServiceStub(channel).Echo(request, metadata=echo.metadata, timeout=CALL_SECONDS)
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    options = [("grpc.max_receive_message_length", 8 * MIB)]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{echo.port}", options) as wide:
        answer = await EchoServiceStub(wide).Echo(request, metadata=echo.metadata, timeout=CALL_SECONDS)
    assert len(answer.padding) == 6 * MIB


async def test_the_metadata_of_a_call_may_have_thirty_two_kibibytes(echo: Stack, channel: grpc.aio.Channel) -> None:
    async def call_with(size: int) -> grpc.StatusCode:
        call = EchoServiceStub(channel).Echo(
            pb.EchoRequest(text="a"), metadata=(*echo.metadata, ("x-large", "v" * size)), timeout=CALL_SECONDS
        )
        return await call.code()

    assert await call_with(30 * 1024) is grpc.StatusCode.OK
    assert await call_with(33 * 1024) is grpc.StatusCode.RESOURCE_EXHAUSTED
