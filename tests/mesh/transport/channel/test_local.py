"""What only the local channel does, or does better than a socket."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextvars import ContextVar
from typing import Any

import grpc
import pytest
from soma.testing.v1 import echo_service_pb2 as pb
from soma.testing.v1 import echo_service_pb2_grpc as rpc

from services.mesh.call.carrier import Metadata
from services.mesh.call.pipeline import Handler
from services.mesh.transport.local.channel import LocalChannel

whisper: ContextVar[str] = ContextVar("whisper", default="nothing")

ECHO = "/soma.testing.v1.EchoService/Echo"
STREAM = "/soma.testing.v1.EchoService/StreamEcho"
COLLECT = "/soma.testing.v1.EchoService/CollectEchoes"
CHAT = "/soma.testing.v1.EchoService/ChatEchoes"


def unary(behaviour: Callable[[Any, Any], Any]) -> dict[str, Handler]:
    return {
        ECHO: grpc.unary_unary_rpc_method_handler(
            behaviour, pb.EchoRequest.FromString, pb.EchoResponse.SerializeToString
        )
    }


def stub_of(handlers: dict[str, Handler], **options: Any) -> "tuple[LocalChannel, rpc.EchoServiceAsyncStub]":
    channel = LocalChannel(handlers, **options)
    return channel, rpc.EchoServiceStub(channel)


async def test_a_servicer_sees_none_of_its_callers_context_variables_and_changes_none() -> None:
    async def behaviour(request: pb.EchoRequest, context: Any) -> pb.EchoResponse:
        seen = whisper.get()
        whisper.set("the servicer's")
        return pb.EchoResponse(text=seen)

    _, stub = stub_of(unary(behaviour))
    whisper.set("the caller's")
    assert (await stub.Echo(pb.EchoRequest())).text == "nothing"
    assert whisper.get() == "the caller's"


async def test_context_captured_at_the_call_reaches_the_servicer() -> None:
    async def behaviour(request: pb.EchoRequest, context: Any) -> pb.EchoResponse:
        return pb.EchoResponse(text=context.carried)

    _, stub = stub_of(unary(behaviour), capture=whisper.get)
    whisper.set("at the call")
    call = stub.Echo(pb.EchoRequest())
    whisper.set("later")
    assert (await call).text == "at the call"


async def test_a_request_iterator_runs_in_its_callers_context() -> None:
    async def behaviour(requests: AsyncIterator[pb.CollectEchoesRequest], context: Any) -> pb.CollectEchoesResponse:
        return pb.CollectEchoesResponse(text="".join([request.text async for request in requests]))

    async def requests() -> AsyncIterator[pb.CollectEchoesRequest]:
        yield pb.CollectEchoesRequest(text=whisper.get())

    handler = grpc.stream_unary_rpc_method_handler(
        behaviour, pb.CollectEchoesRequest.FromString, pb.CollectEchoesResponse.SerializeToString
    )
    _, stub = stub_of({COLLECT: handler})
    whisper.set("the caller's")
    assert (await stub.CollectEchoes(requests())).text == "the caller's"


async def test_neither_side_can_change_a_message_the_other_holds() -> None:
    kept: list[Any] = []

    async def behaviour(request: pb.EchoRequest, context: Any) -> pb.EchoResponse:
        request.text = "scribbled on"
        response = pb.EchoResponse(text="answer")
        kept.extend((request, response))
        return response

    _, stub = stub_of(unary(behaviour))
    request = pb.EchoRequest(text="mine")
    response = await stub.Echo(request)
    kept[1].text = "changed behind the caller's back"
    assert (request.text, response.text) == ("mine", "answer")


async def test_a_message_of_another_class_crosses_as_its_bytes() -> None:
    async def behaviour(request: pb.EchoRequest, context: Any) -> Any:
        assert isinstance(request, pb.EchoRequest)
        return pb.StreamEchoResponse(text=request.text)

    _, stub = stub_of(unary(behaviour))
    response = await stub.Echo(pb.StreamEchoRequest(text="field 1"))  # type: ignore[arg-type]
    assert isinstance(response, pb.EchoResponse)
    assert response.text == "field 1"


async def test_a_servicer_that_ignores_cancellation_does_not_hold_its_caller() -> None:
    release = asyncio.Event()

    async def behaviour(request: pb.EchoRequest, context: Any) -> pb.EchoResponse:
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue
        return pb.EchoResponse(text="too late")

    channel, stub = stub_of(unary(behaviour))
    call = stub.Echo(pb.EchoRequest(), timeout=0.05)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert channel.calls == 1
    release.set()
    await channel.close()
    assert (channel.calls, await call.code()) == (0, grpc.StatusCode.DEADLINE_EXCEEDED)


async def test_a_servicer_that_is_cancelled_from_outside_answers_cancelled() -> None:
    async def behaviour(request: pb.EchoRequest, context: Any) -> pb.EchoResponse:
        raise asyncio.CancelledError

    _, stub = stub_of(unary(behaviour))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.Echo(pb.EchoRequest())
    assert caught.value.code() is grpc.StatusCode.CANCELLED


async def test_a_servicer_cancelled_before_its_first_step_answers_cancelled() -> None:
    async def behaviour(request: pb.EchoRequest, context: Any) -> pb.EchoResponse:
        pytest.fail("the servicer ran")

    channel, stub = stub_of(unary(behaviour))
    call = stub.Echo(pb.EchoRequest(), timeout=10)
    for exchange in channel.exchanges:
        assert exchange.serving is not None
        exchange.serving.cancel()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    assert (caught.value.code(), channel.calls, len(channel.deadlines)) == (grpc.StatusCode.CANCELLED, 0, 0)


async def test_an_abort_reaches_the_caller_while_the_servicer_still_cleans_up() -> None:
    release = asyncio.Event()

    async def behaviour(request: pb.EchoRequest, context: Any) -> pb.EchoResponse:
        try:
            await context.abort(grpc.StatusCode.ABORTED, "enough", (("x-why", "because"),))
        finally:
            await release.wait()
        return pb.EchoResponse()

    channel, stub = stub_of(unary(behaviour))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.Echo(pb.EchoRequest())
    assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.ABORTED, "enough")
    assert tuple(caught.value.trailing_metadata()) == (("x-why", "because"),)
    release.set()
    await channel.close()


async def test_a_declared_code_drops_the_response() -> None:
    async def behaviour(request: pb.EchoRequest, context: Any) -> pb.EchoResponse:
        context.set_code(grpc.StatusCode.DATA_LOSS)
        context.set_details("half of it")
        context.set_trailing_metadata((("x-half", "1"),))
        assert (context.code(), context.details()) == (grpc.StatusCode.DATA_LOSS, "half of it")
        return pb.EchoResponse(text="dropped")

    _, stub = stub_of(unary(behaviour))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.Echo(pb.EchoRequest())
    assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.DATA_LOSS, "half of it")
    assert tuple(caught.value.trailing_metadata()) == (("x-half", "1"),)


async def test_an_untranslated_exception_is_unknown() -> None:
    async def behaviour(request: pb.EchoRequest, context: Any) -> pb.EchoResponse:
        raise LookupError("lost")

    _, stub = stub_of(unary(behaviour))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.Echo(pb.EchoRequest())
    assert caught.value.code() is grpc.StatusCode.UNKNOWN
    assert caught.value.details() == "Unexpected <class 'LookupError'>: lost"


async def test_a_servicer_may_read_and_write_instead_of_iterating() -> None:
    async def behaviour(_: Any, context: Any) -> None:
        while (request := await context.read()) is not grpc.aio.EOF:
            await context.write(pb.ChatEchoesResponse(text=request.text.upper()))

    handler = grpc.stream_stream_rpc_method_handler(
        behaviour, pb.ChatEchoesRequest.FromString, pb.ChatEchoesResponse.SerializeToString
    )
    _, stub = stub_of({CHAT: handler})
    requests = [pb.ChatEchoesRequest(text=text) for text in "abc"]
    assert [response.text async for response in stub.ChatEchoes(iter(requests))] == ["A", "B", "C"]


async def test_a_cut_upload_raises_again_for_a_servicer_that_swallowed_it() -> None:
    outcomes: list[str] = []

    async def behaviour(requests: Any, context: Any) -> pb.CollectEchoesResponse:
        for _ in range(2):
            try:
                async for _ in requests:
                    pass
                outcomes.append("complete")
            except asyncio.CancelledError:
                outcomes.append("cut")
        return pb.CollectEchoesResponse()

    handler = grpc.stream_unary_rpc_method_handler(
        behaviour, pb.CollectEchoesRequest.FromString, pb.CollectEchoesResponse.SerializeToString
    )
    channel, stub = stub_of({COLLECT: handler})
    call = stub.CollectEchoes()
    await call.write(pb.CollectEchoesRequest())
    await asyncio.sleep(0)
    call.cancel()
    await channel.close()
    assert outcomes == ["cut", "cut"]


async def test_a_stream_that_is_suspended_at_a_yield_is_cleaned_up_before_the_channel_is_closed() -> None:
    cleaned: list[str] = []

    async def behaviour(request: pb.StreamEchoRequest, context: Any) -> AsyncIterator[pb.StreamEchoResponse]:
        try:
            while True:
                yield pb.StreamEchoResponse()
        finally:
            await asyncio.sleep(0)
            cleaned.append("yes")

    handler = grpc.unary_stream_rpc_method_handler(
        behaviour, pb.StreamEchoRequest.FromString, pb.StreamEchoResponse.SerializeToString
    )
    channel, stub = stub_of({STREAM: handler})
    call = stub.StreamEcho(pb.StreamEchoRequest())
    await call.read()
    await channel.close()
    assert (cleaned, call.cancelled()) == (["yes"], True)


async def test_a_second_reader_of_a_stream_gets_an_error() -> None:
    async def behaviour(request: pb.StreamEchoRequest, context: Any) -> AsyncIterator[pb.StreamEchoResponse]:
        await asyncio.sleep(30)
        yield pb.StreamEchoResponse()

    handler = grpc.unary_stream_rpc_method_handler(
        behaviour, pb.StreamEchoRequest.FromString, pb.StreamEchoResponse.SerializeToString
    )
    channel, stub = stub_of({STREAM: handler})
    call = stub.StreamEcho(pb.StreamEchoRequest())
    first = asyncio.create_task(call.read())
    await asyncio.sleep(0)
    with pytest.raises(grpc.aio.UsageError, match="Only one task"):
        await call.read()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    await channel.close()


async def test_outgoing_decides_timeout_and_metadata_of_every_call() -> None:
    class Frugal:
        def timeout(self, given: float | None) -> float | None:
            return 5 if given is None else min(given, 5)

        def metadata(self, given: Metadata | None) -> Metadata | None:
            return (*(given or ()), ("x-more", "1"))

    async def behaviour(request: pb.EchoRequest, context: Any) -> pb.EchoResponse:
        return pb.EchoResponse(text=f"{context.time_remaining():.0f} {dict(context.invocation_metadata())}")

    _, stub = stub_of(unary(behaviour), outgoing=Frugal())
    assert (await stub.Echo(pb.EchoRequest())).text == "5 {'x-more': '1'}"
    assert (await stub.Echo(pb.EchoRequest(), timeout=2, metadata=(("x-own", "2"),))).text == (
        "2 {'x-own': '2', 'x-more': '1'}"
    )


async def test_waiting_for_a_change_of_state_ends_when_the_channel_is_closed() -> None:
    channel, _ = stub_of({})
    await channel.channel_ready()
    waiting = asyncio.create_task(channel.wait_for_state_change(grpc.ChannelConnectivity.READY))
    await asyncio.sleep(0)
    assert not waiting.done()
    await channel.close()
    await waiting
    assert channel.get_state() is grpc.ChannelConnectivity.SHUTDOWN
