"""How streams work, on every transport alike."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import grpc
import pytest
from soma.testing.v1 import echo_service_pb2 as pb

from services.mesh.testing.waiting import until
from tests.mesh.transport.channel.conftest import Wire

# More than any buffer of a transport under test holds, in messages of MEGABYTE bytes.
MANY, MEGABYTE = 64, 1_000_000


def asked(text: str = "hello", **script: object) -> pb.StreamEchoRequest:
    return pb.StreamEchoRequest(text=text, script=pb.Script(**script))  # type: ignore[arg-type]


async def uploads(count: int, **script: object) -> AsyncIterator[pb.CollectEchoesRequest]:
    for number in range(count):
        yield pb.CollectEchoesRequest(
            text=f"{number},",
            script=pb.Script(**script),  # type: ignore[arg-type]
            last=number == count - 1,
        )


async def test_a_stream_arrives_complete_and_in_order(wire: Wire) -> None:
    call = wire.stub.StreamEcho(
        asked(count=500), metadata=(("x-test-initial", "opened"), ("x-test-trailing", "closed"))
    )
    assert wire.said(await call.initial_metadata()) == (("x-test-initial", "opened"),)
    assert [response.sequence async for response in call] == list(range(500))
    assert await call.code() is grpc.StatusCode.OK
    assert tuple(await call.trailing_metadata()) == (("x-test-trailing", "closed"),)


async def test_reading_one_by_one_ends_with_eof(wire: Wire) -> None:
    call = wire.stub.StreamEcho(asked(count=2))
    assert [getattr(await call.read(), "sequence", None) for _ in range(2)] == [0, 1]
    assert await call.read() is grpc.aio.EOF
    assert await call.read() is grpc.aio.EOF


async def test_iterating_and_reading_do_not_mix(wire: Wire) -> None:
    call = wire.stub.StreamEcho(asked(count=2))
    await call.read()
    with pytest.raises(grpc.aio.UsageError):
        call.__aiter__()
    chat = wire.stub.ChatEchoes(iter([pb.ChatEchoesRequest()]))
    with pytest.raises(grpc.aio.UsageError):
        await chat.write(pb.ChatEchoesRequest())


async def test_an_error_mid_stream_comes_after_the_messages_before_it(wire: Wire) -> None:
    call = wire.stub.StreamEcho(asked(count=10, fail_after=3, fail_code=14, fail_message="lost it"))
    responses = aiter(call)
    assert [(await anext(responses)).sequence for _ in range(3)] == [0, 1, 2]
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await anext(responses)
    assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.UNAVAILABLE, "lost it")
    assert dict(caught.value.trailing_metadata())["grpc-status-details-bin"]
    with pytest.raises(grpc.aio.AioRpcError):
        await anext(responses)


async def test_an_iterator_that_is_kept_can_be_left_and_resumed(wire: Wire) -> None:
    call = wire.stub.StreamEcho(asked(count=6))
    responses = aiter(call)
    first = [response.sequence async for response in _first(responses, 2)]
    assert (first, [response.sequence async for response in call]) == ([0, 1], [2, 3, 4, 5])
    assert await call.code() is grpc.StatusCode.OK


async def _first(responses: AsyncIterator[pb.StreamEchoResponse], count: int) -> AsyncIterator[pb.StreamEchoResponse]:
    for _ in range(count):
        yield await anext(responses)


async def test_an_error_before_the_first_message_comes_without_messages(wire: Wire) -> None:
    call = wire.stub.StreamEcho(asked(fail_code=7, fail_message="not you"))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await anext(aiter(call))
    assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED


async def test_the_end_is_not_known_before_the_last_message_is_read(wire: Wire) -> None:
    call = wire.stub.StreamEcho(asked(count=2, fail_after=2, fail_code=10, fail_message="conflict"))
    await until(lambda: wire.tally.served == 1 and wire.tally.running == 0)
    assert not call.done()
    assert [getattr(await call.read(), "sequence", None) for _ in range(2)] == [0, 1]
    with pytest.raises(grpc.aio.AioRpcError):
        await call.read()
    assert (call.done(), await call.code()) == (True, grpc.StatusCode.ABORTED)


async def test_an_upload_from_an_iterator_is_collected(wire: Wire) -> None:
    response = await wire.stub.CollectEchoes(uploads(300))
    assert (response.count, response.complete) == (300, True)
    assert response.text == "".join(f"{number}," for number in range(300))


async def test_an_upload_from_a_plain_list_is_collected(wire: Wire) -> None:
    requests = [pb.CollectEchoesRequest(text="a"), pb.CollectEchoesRequest(text="b", last=True)]
    response = await wire.stub.CollectEchoes(iter(requests))
    assert (response.text, response.complete) == ("ab", True)


async def test_half_close_ends_the_requests_and_not_the_call(wire: Wire) -> None:
    call = wire.stub.CollectEchoes()
    await call.write(pb.CollectEchoesRequest(text="a"))
    await call.write(pb.CollectEchoesRequest(text="b", last=True))
    await call.done_writing()
    await call.done_writing()
    with pytest.raises(asyncio.InvalidStateError, match="half closed"):
        await call.write(pb.CollectEchoesRequest(text="c"))
    response = await call
    assert (response.text, response.complete) == ("ab", True)


async def test_a_conversation_is_answered_message_by_message(wire: Wire) -> None:
    call = wire.stub.ChatEchoes()
    for number in range(20):
        await call.write(pb.ChatEchoesRequest(text=str(number)))
        response = await call.read()
        assert isinstance(response, pb.ChatEchoesResponse)
        assert (response.text, response.sequence) == (str(number), number)
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF
    assert await call.code() is grpc.StatusCode.OK


async def test_a_servicer_may_end_before_its_requests_do(wire: Wire) -> None:
    closed = asyncio.Event()

    async def unfinished() -> AsyncIterator[pb.ChatEchoesRequest]:
        try:
            for _ in range(3):
                yield pb.ChatEchoesRequest(text="more", script=pb.Script(count=3))
            await asyncio.Event().wait()
        finally:
            closed.set()

    call = wire.stub.ChatEchoes(unfinished())
    assert [response.sequence async for response in call] == [0, 1, 2]
    assert await call.code() is grpc.StatusCode.OK
    await until(closed.is_set)
    await wire.quiet()


async def test_a_servicer_that_ends_while_requests_still_come_ends_well(wire: Wire) -> None:
    async def endless() -> AsyncIterator[pb.ChatEchoesRequest]:
        while True:
            yield pb.ChatEchoesRequest(text="more", script=pb.Script(count=3))

    call = wire.stub.ChatEchoes(endless())

    async def read_all() -> list[int]:
        return [response.sequence async for response in call]

    if wire.differs("ends badly under writes"):
        with suppress(grpc.aio.AioRpcError):
            await read_all()
        assert await call.code() in {grpc.StatusCode.OK, grpc.StatusCode.INTERNAL}
    else:
        assert await read_all() == [0, 1, 2]
        assert await call.code() is grpc.StatusCode.OK
    await wire.quiet()


async def test_writing_to_a_call_that_has_ended_is_refused(wire: Wire) -> None:
    call = wire.stub.ChatEchoes()
    await call.write(pb.ChatEchoesRequest(script=pb.Script(count=1)))
    assert await call.read() is not grpc.aio.EOF
    assert await call.read() is grpc.aio.EOF
    with pytest.raises(asyncio.InvalidStateError, match=r"RPC already finished\."):
        await call.write(pb.ChatEchoesRequest())
    await call.done_writing()


async def test_a_failed_upload_raises_its_status_where_it_is_awaited(wire: Wire) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await wire.stub.CollectEchoes(uploads(5, fail_code=3, fail_message="not like that"))
    assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.INVALID_ARGUMENT, "not like that")


async def test_a_slow_reader_holds_the_servicer_back(wire: Wire) -> None:
    call = wire.stub.StreamEcho(asked(count=MANY, padding_bytes=MEGABYTE))
    assert await call.read() is not grpc.aio.EOF
    held_back = await wire.steady(lambda: wire.tally.sent)
    assert held_back <= (MANY / 2 if wire.differs("buffers by bytes") else 18)
    received = 1
    while await call.read() is not grpc.aio.EOF:
        received += 1
    assert (received, wire.tally.sent) == (MANY, MANY)


async def test_a_slow_servicer_holds_the_writer_back(wire: Wire) -> None:
    written = 0

    async def heavy() -> AsyncIterator[pb.CollectEchoesRequest]:
        nonlocal written
        for _ in range(MANY):
            written += 1
            yield pb.CollectEchoesRequest(text="x" * MEGABYTE, script=pb.Script(delay_seconds=30))

    call = wire.stub.CollectEchoes(heavy())
    await until(lambda: wire.tally.received == 1)
    assert await wire.steady(lambda: written) <= (MANY / 2 if wire.differs("buffers by bytes") else 18)
    assert wire.tally.received == 1
    call.cancel()
    await wire.quiet()


async def test_a_stream_with_a_message_over_the_limit_fails_there(wire: Wire) -> None:
    call = wire.stub.StreamEcho(asked(count=3, padding_bytes=5_000_000))
    if wire.differs("no limits"):
        assert [len(response.padding) async for response in call] == [5_000_000] * 3
        return
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await anext(aiter(call))
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    await wire.quiet()


async def test_an_upload_with_a_message_over_the_limit_fails(wire: Wire) -> None:
    requests = [pb.CollectEchoesRequest(text="x" * size, last=True) for size in (1, 5_000_000)]
    call = wire.stub.CollectEchoes(iter(requests))
    if wire.differs("no limits"):
        assert (await call).count == 2
        return
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    await wire.quiet()


async def test_200_streams_run_side_by_side(wire: Wire) -> None:
    async def converse(number: int) -> list[str]:
        call = wire.stub.ChatEchoes()
        texts = []
        for turn in range(5):
            await call.write(pb.ChatEchoesRequest(text=f"{number}.{turn}"))
            response = await call.read()
            assert isinstance(response, pb.ChatEchoesResponse)
            texts.append(response.text)
        await call.done_writing()
        assert await call.read() is grpc.aio.EOF
        return texts

    conversations = await asyncio.gather(*(converse(number) for number in range(200)))
    assert conversations == [[f"{number}.{turn}" for turn in range(5)] for number in range(200)]
    await wire.quiet()


async def test_a_stream_ends_at_its_deadline(wire: Wire) -> None:
    call = wire.stub.StreamEcho(asked(count=1000, interval_seconds=0.1), timeout=1.0)
    received: list[int] = []

    async def read_all() -> None:
        async for response in call:
            received.append(response.sequence)

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await read_all()
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert 0 < len(received) < 20
    await wire.quiet()
    assert wire.tally.cancelled == 1


async def test_responses_not_read_by_the_deadline_are_lost(wire: Wire) -> None:
    call = wire.stub.StreamEcho(asked(count=3), timeout=1.0)
    assert await call.read() is not grpc.aio.EOF
    await until(call.done)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call.read()
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
