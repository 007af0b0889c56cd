"""How unary calls work, on every transport alike."""

import asyncio
import time

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from soma.testing.v1 import echo_service_pb2 as pb

from services.mesh.testing.waiting import until
from tests.mesh.transport.channel.conftest import Wire


def scripted(text: str = "hello", **script: object) -> pb.EchoRequest:
    return pb.EchoRequest(text=text, script=pb.Script(**script))  # type: ignore[arg-type]


async def test_a_call_returns_the_response(wire: Wire) -> None:
    call = wire.stub.Echo(scripted("hello"))
    response = await call
    assert response.text == "hello"
    left = response.observation.time_remaining_seconds
    assert 50 < left <= 60 if wire.differs("sets a deadline") else left == -1
    assert (call.done(), call.cancelled(), call.cancel(), call.time_remaining()) == (True, False, False, None)
    assert (await call.code(), await call.details()) == (grpc.StatusCode.OK, "")
    assert await call == response


async def test_metadata_travels_both_ways_keeping_the_order_of_a_keys_values(wire: Wire) -> None:
    sent = (
        ("x-test-b", "2"),
        ("x-test-a", "1"),
        ("x-test-b", "3"),
        ("x-test-initial", "opened"),
        ("x-test-trailing-bin", b"\x00\xff"),
    )
    call = wire.stub.Echo(scripted(), metadata=sent)
    response = await call
    assert sorted(response.observation.metadata, key=lambda pair: pair.split("=")[0]) == [
        "x-test-a=1",
        "x-test-b=2",
        "x-test-b=3",
        "x-test-initial=opened",
        "x-test-trailing-bin=00ff",
    ]
    assert wire.said(await call.initial_metadata()) == (("x-test-initial", "opened"),)
    assert tuple(await call.trailing_metadata()) == (("x-test-trailing-bin", b"\x00\xff"),)


async def test_only_a_socket_adds_metadata_of_its_own_and_knows_an_address(wire: Wire) -> None:
    await wire.stub.Echo(scripted())
    if wire.differs("no transport metadata"):
        assert (wire.tally.metadata_keys, wire.tally.peer) == ((), "local:")
    else:
        named = ("x-request-id", "x-soma-source") if wire.differs("names its requests") else ()
        assert wire.tally.metadata_keys == ("user-agent", *named)
        assert wire.tally.peer.startswith(("ipv4:", "unix:"))


async def test_an_error_brings_its_code_message_and_details(wire: Wire) -> None:
    call = wire.stub.Echo(scripted(fail_code=5, fail_message="no such thing"))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    error = caught.value
    assert (error.code(), error.details()) == (grpc.StatusCode.NOT_FOUND, "no such thing")
    assert error.debug_error_string() == "NOT_FOUND:no such thing"
    trailing = dict(error.trailing_metadata())
    status = status_pb2.Status.FromString(trailing["grpc-status-details-bin"])
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert (status.code, info.reason, info.domain, dict(info.metadata)) == (5, "NOT_FOUND", "soma", {"scripted": "yes"})
    assert await call.code() is grpc.StatusCode.NOT_FOUND
    assert tuple(await call.trailing_metadata()) == tuple(error.trailing_metadata())


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK])
async def test_every_status_code_crosses(wire: Wire, code: grpc.StatusCode) -> None:
    number = code.value[0]
    call = wire.stub.Echo(scripted(fail_code=number, fail_message="as asked"))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    assert (caught.value.code(), caught.value.details()) == (code, "as asked")
    assert call.cancelled() is (code is grpc.StatusCode.CANCELLED)


async def test_an_unexpected_exception_is_an_internal_error_without_its_text(wire: Wire) -> None:
    request = scripted(fail_message="the password is hunter2")
    setattr(request.script, "raise", True)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await wire.stub.Echo(request)
    assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.INTERNAL, "internal error")
    assert "hunter2" not in str(caught.value)


async def test_an_unknown_method_is_unimplemented(wire: Wire) -> None:
    method = wire.channel.unary_unary(
        "/soma.testing.v1.EchoService/Shout", pb.EchoRequest.SerializeToString, pb.EchoResponse.FromString
    )
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await method(pb.EchoRequest())
    assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.UNIMPLEMENTED, "Method not found!")


@pytest.mark.parametrize("timeout", [0, -1])
async def test_a_call_whose_deadline_has_passed_never_reaches_the_servicer(wire: Wire, timeout: float) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await wire.stub.Echo(scripted(), timeout=timeout, metadata=(("x-test-spent", "1"),))
    assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded")
    await wire.stub.Echo(scripted())
    assert wire.tally.served == 1


async def test_the_servicer_sees_the_time_it_has(wire: Wire) -> None:
    call = wire.stub.Echo(scripted(), timeout=20)
    left = call.time_remaining()
    assert left is not None
    assert 19 < left <= 20
    rounding = 0.2 if wire.differs("rounds deadlines up") else 0
    assert 15 < (await call).observation.time_remaining_seconds <= 20 + rounding


async def test_a_deadline_during_the_call_ends_it_and_cancels_the_servicer(wire: Wire) -> None:
    started = time.monotonic()
    call = wire.stub.Echo(scripted(delay_seconds=30), timeout=0.5)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    assert 0.49 < time.monotonic() - started < 15
    words = {"Deadline Exceeded"}
    if wire.differs("has a clock of its own"):
        words.add("testing did not answer in time")
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert caught.value.details() in words
    assert (call.done(), call.cancelled(), call.cancel()) == (True, False, False)
    await wire.quiet()
    assert wire.tally.cancelled == 1


async def test_a_deadline_after_the_call_changes_nothing(wire: Wire) -> None:
    call = wire.stub.Echo(scripted("in time"), timeout=1.0)
    response = await call
    before = time.monotonic()
    await until(lambda: time.monotonic() - before > 1.1)
    assert (await call.code(), response.text, wire.tally.cancelled) == (grpc.StatusCode.OK, "in time", 0)


async def test_a_hop_spends_its_callers_time(wire: Wire) -> None:
    response = await wire.stub.Echo(scripted(hops=3), timeout=10)
    rounding = 0.4 if wire.differs("rounds deadlines up") else 0
    assert 5 < response.observation.time_remaining_seconds < 10 + rounding


async def test_done_callbacks_run_once_with_the_call(wire: Wire) -> None:
    calls: list[object] = []
    call = wire.stub.Echo(scripted())
    call.add_done_callback(calls.append)
    await call
    await until(lambda: len(calls) == 1)
    call.add_done_callback(calls.append)
    await until(lambda: len(calls) == 2)


async def test_a_done_callback_runs_even_if_nobody_holds_the_unary_call(wire: Wire) -> None:
    calls: list[object] = []
    wire.stub.Echo(scripted(delay_seconds=0.01)).add_done_callback(calls.append)
    await until(lambda: len(calls) == 1)


async def test_a_call_nobody_awaits_runs_to_its_end(wire: Wire) -> None:
    wire.stub.Echo(scripted())
    await until(lambda: wire.tally.served == 1)
    await wire.quiet()
    assert wire.tally.cancelled == 0


async def test_cancelling_the_awaiting_task_cancels_the_servicer(wire: Wire) -> None:
    call = wire.stub.Echo(scripted(delay_seconds=30))

    async def wait() -> None:
        await call

    task = asyncio.create_task(wait())
    await until(lambda: wire.tally.running == 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await wire.quiet()
    assert (wire.tally.cancelled, call.cancelled()) == (1, True)


async def test_messages_are_never_shared(wire: Wire) -> None:
    request = scripted("mine")
    call = wire.stub.Echo(request)
    if wire.differs("copies at the call"):
        request.text = "changed after the call"
    response = await call
    request.text = "changed after the answer"
    assert response.text == "mine"


@pytest.mark.parametrize(
    ("metadata", "at_fault"),
    [((("X-Upper", "1"),), "X-Upper"), ((("x space", "1"),), "x space"), ((("x-line", "a\nb"),), "x-line")],
)
async def test_illegal_metadata_is_refused(wire: Wire, metadata: tuple[tuple[str, str], ...], at_fault: str) -> None:
    async def call() -> pb.EchoResponse:
        return await wire.stub.Echo(scripted(), metadata=metadata)

    if wire.differs("illegal metadata passes"):
        assert (await call()).text == "hello"
    elif wire.differs("illegal metadata is a ValueError"):
        with pytest.raises(ValueError, match=at_fault):
            await call()
    else:
        with pytest.raises(Exception, match="execute_batch"):
            await call()


@pytest.mark.parametrize("direction", ["request", "response"])
async def test_a_message_over_the_limit_is_refused_and_one_under_it_passes(wire: Wire, direction: str) -> None:
    def message(size: int) -> pb.EchoRequest:
        return scripted("x" * size) if direction == "request" else scripted(padding_bytes=size)

    under = await wire.stub.Echo(message(4_000_000))
    assert len(under.text) + len(under.padding) >= 4_000_000
    if wire.differs("no limits"):
        over = await wire.stub.Echo(message(5_000_000))
        assert len(over.text) + len(over.padding) >= 5_000_000
        return
    receiver = "SERVER" if direction == "request" else "CLIENT"
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await wire.stub.Echo(message(5_000_000))
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    words = f"{receiver}: Received message larger than max"
    if receiver == "SERVER" and wire.differs("is refused on its way"):
        words = "the message is larger than allowed"
    assert words in str(caught.value.details())


async def test_trailers_over_the_limit_do_not_cross(wire: Wire) -> None:
    # The message travels twice: as the status message and, in base64, inside the details.
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await wire.stub.Echo(scripted(fail_code=5, fail_message="x" * 10_000))
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await wire.stub.Echo(scripted(fail_code=5, fail_message="x" * 40_000))
    stays = wire.differs("no limits") or wire.differs("cuts long words short")
    assert caught.value.code() is (grpc.StatusCode.NOT_FOUND if stays else grpc.StatusCode.RESOURCE_EXHAUSTED)


async def test_a_closed_channel_makes_no_calls(wire: Wire) -> None:
    await wire.channel.close()
    assert wire.channel.get_state() is grpc.ChannelConnectivity.SHUTDOWN
    with pytest.raises(grpc.aio.UsageError, match=r"Channel is closed\."):
        await wire.stub.Echo(scripted())


async def test_closing_a_channel_cancels_what_still_runs(wire: Wire) -> None:
    call = wire.stub.Echo(scripted(delay_seconds=30))
    await until(lambda: wire.tally.running == 1)
    await wire.channel.close()
    with pytest.raises(asyncio.CancelledError):
        await call
    await wire.quiet()
    assert wire.tally.cancelled == 1


async def test_closing_with_grace_lets_calls_finish(wire: Wire) -> None:
    call = wire.stub.Echo(scripted("last words", delay_seconds=0.1))
    await until(lambda: wire.tally.running == 1)
    await wire.channel.close(10)
    assert (await call).text == "last words"
