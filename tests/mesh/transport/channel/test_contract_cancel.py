"""How calls are cancelled, abandoned and interrupted, on every transport alike, without leaving anything behind."""

import asyncio
import gc
import threading
from collections.abc import AsyncIterator

import grpc
import psutil
import pytest
from soma.testing.v1 import echo_service_pb2 as pb

from services.mesh.testing.waiting import until
from tests.mesh.transport.channel.conftest import Residue, Wire
from tests.size import Size

SLOW = pb.Script(delay_seconds=30)
AT_ONCE = 100
ENDLESS = pb.StreamEchoRequest(script=pb.Script(count=1_000_000, interval_seconds=0.001))


async def test_a_cancelled_call_has_the_status_cancelled_and_its_servicer_is_cancelled(wire: Wire) -> None:
    call = wire.stub.Echo(pb.EchoRequest(script=SLOW))
    await until(lambda: wire.tally.running == 1)
    assert (call.cancel(), call.cancel()) == (True, False)
    assert (call.done(), call.cancelled()) == (True, True)
    assert (await call.code(), await call.details()) == (
        grpc.StatusCode.CANCELLED,
        "Locally cancelled by application!",
    )
    with pytest.raises(asyncio.CancelledError):
        await call
    await wire.quiet()
    assert wire.tally.cancelled == 1


async def test_the_context_of_a_servicer_reports_a_cancellation(wire: Wire) -> None:
    call = wire.stub.Echo(pb.EchoRequest(script=SLOW))
    await until(lambda: wire.tally.running == 1)
    call.cancel()
    await wire.quiet()
    assert (wire.tally.cancelled, wire.tally.context_cancelled) == (1, 0 if wire.differs("servicer is not told") else 1)


async def test_a_call_cancelled_at_once_leaves_nothing(wire: Wire) -> None:
    call = wire.stub.Echo(pb.EchoRequest(script=SLOW))
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await wire.quiet()


async def test_cancelling_travels_through_three_hops(wire: Wire) -> None:
    call = wire.stub.Echo(pb.EchoRequest(script=pb.Script(hops=3, delay_seconds=0.05)))
    await until(lambda: wire.tally.running == 3)
    call.cancel()
    await wire.quiet()
    assert wire.tally.cancelled == 3


async def test_a_deadline_ends_all_hops(wire: Wire) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await wire.stub.Echo(pb.EchoRequest(script=pb.Script(hops=3, delay_seconds=0.4)), timeout=1.0)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    await wire.quiet()
    assert wire.tally.cancelled >= 2


async def test_an_error_passes_through_three_hops_unchanged(wire: Wire) -> None:
    # The innermost hop fails; each servicer on the way relays the status and its details.
    request = pb.EchoRequest(script=pb.Script(hops=3, fail_code=9, fail_message="not now"))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await wire.stub.Echo(request)
    assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.FAILED_PRECONDITION, "not now")
    assert dict(caught.value.trailing_metadata())["grpc-status-details-bin"]


async def test_leaving_an_iteration_early_cancels_the_servicer(wire: Wire) -> None:
    call = wire.stub.StreamEcho(ENDLESS)
    async for response in call:
        if response.sequence == 3:
            break
    await wire.quiet()
    assert (wire.tally.cancelled, call.cancelled()) == (1, True)


async def test_an_exception_inside_an_iteration_cancels_the_servicer(wire: Wire) -> None:
    async def consume() -> None:
        async for _ in wire.stub.StreamEcho(ENDLESS):
            raise LookupError

    with pytest.raises(LookupError):
        await consume()
    await wire.quiet()
    assert wire.tally.cancelled == 1


async def test_cancelling_the_reading_task_cancels_the_servicer(wire: Wire) -> None:
    async def consume() -> None:
        async for _ in wire.stub.StreamEcho(pb.StreamEchoRequest(script=SLOW)):
            pass

    task = asyncio.create_task(consume())
    await until(lambda: wire.tally.running == 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await wire.quiet()
    assert wire.tally.cancelled == 1


@pytest.mark.parametrize("kind", ["StreamEcho", "CollectEchoes", "ChatEchoes"])
async def test_a_dropped_stream_is_cancelled(wire: Wire, kind: str) -> None:
    ended: list[object] = []

    async def open_one() -> None:
        if kind == "StreamEcho":
            call = wire.stub.StreamEcho(pb.StreamEchoRequest(script=SLOW))
        elif kind == "CollectEchoes":
            call = wire.stub.CollectEchoes()  # type: ignore[assignment]
        else:
            call = wire.stub.ChatEchoes()  # type: ignore[assignment]
        call.add_done_callback(ended.append)
        await until(lambda: wire.tally.running == 1)

    await open_one()
    await wire.quiet()
    await until(lambda: len(ended) == 1)
    assert wire.tally.cancelled + wire.tally.cut == 1 or kind == "ChatEchoes"


async def test_a_stream_in_a_cycle_is_cancelled_when_it_is_collected_in_another_thread(wire: Wire) -> None:
    def tie() -> None:
        cycle: list[object] = [wire.stub.StreamEcho(pb.StreamEchoRequest(script=SLOW))]
        cycle.append(cycle)

    gc.disable()
    try:
        tie()
        await until(lambda: wire.tally.running == 1)
        collector = threading.Thread(target=gc.collect)
        collector.start()
        collector.join()
    finally:
        gc.enable()
    await wire.quiet()
    assert wire.tally.cancelled == 1


async def test_a_stream_suspended_by_a_slow_reader_is_cleaned_up(wire: Wire) -> None:
    call = wire.stub.StreamEcho(pb.StreamEchoRequest(script=pb.Script(count=1000, padding_bytes=1_000_000)))
    await call.read()
    await wire.steady(lambda: wire.tally.sent)
    call.cancel()
    await wire.quiet()
    assert wire.tally.cancelled == 1


async def test_an_upload_that_was_cut_off_is_never_taken_for_complete(wire: Wire) -> None:
    call = wire.stub.CollectEchoes()
    await call.write(pb.CollectEchoesRequest(text="first"))
    await until(lambda: wire.tally.received == 1)
    call.cancel()
    await wire.quiet()
    # Locally the servicer's iteration raises; on a socket it ends, and only the missing last message shows the failure.
    cancelled, cut = (0, 1) if wire.differs("cut uploads end") else (1, 0)
    assert (wire.tally.cancelled, wire.tally.cut) == (cancelled, cut)


async def test_an_exception_in_the_request_iterator_reaches_the_caller(wire: Wire) -> None:
    async def failing() -> AsyncIterator[pb.CollectEchoesRequest]:
        yield pb.CollectEchoesRequest(text="first")
        raise OSError("the disk is gone")

    call = wire.stub.CollectEchoes(failing())
    with pytest.raises(OSError, match="the disk is gone"):
        await call
    assert await call.code() is grpc.StatusCode.CANCELLED
    await wire.quiet()


async def test_an_exception_in_the_request_iterator_of_a_conversation_reaches_the_reader(wire: Wire) -> None:
    async def failing() -> AsyncIterator[pb.ChatEchoesRequest]:
        yield pb.ChatEchoesRequest(text="first")
        raise OSError("the disk is gone")

    async def converse() -> None:
        async for _ in wire.stub.ChatEchoes(failing()):
            pass

    with pytest.raises(OSError, match="the disk is gone"):
        await converse()
    await wire.quiet()


async def test_thousands_of_cancelled_calls_leave_nothing(wire: Wire, size: Size) -> None:
    async def one() -> None:
        call = wire.stub.Echo(pb.EchoRequest(text="x", script=SLOW))
        await asyncio.sleep(0)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call

    async def batches(count: int) -> None:
        for _ in range(count):
            await asyncio.gather(*(one() for _ in range(AT_ONCE)))

    process = psutil.Process()
    await batches(20)
    await wire.quiet()
    gc.collect()
    before, memory = Residue.now(), process.memory_info().rss
    await batches(size.of(200, full=2_000))
    await wire.quiet()
    kept = AT_ONCE if wire.differs("keeps connections") else 0
    await until(lambda: Residue.now().within(before, spare=kept))
    gc.collect()
    if not wire.differs("leaks memory"):
        assert process.memory_info().rss - memory <= 5_000_000


async def test_many_dropped_streams_leave_nothing(wire: Wire) -> None:
    async def one() -> None:
        async for _ in wire.stub.StreamEcho(ENDLESS):
            break

    async def batches(count: int) -> None:
        for _ in range(count):
            await asyncio.gather(*(one() for _ in range(50)))

    await batches(2)
    await wire.quiet()
    before = Residue.now()
    await batches(6 if wire.differs("counts what is reset") else 40)
    await wire.quiet()
    await until(lambda: Residue.now().within(before))
