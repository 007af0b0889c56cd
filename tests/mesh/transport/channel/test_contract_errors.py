"""How calls of a routed channel fail: with MeshError, on every transport alike."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from soma.testing.v1 import echo_service_pb2 as pb
from soma.testing.v1 import echo_service_pb2_grpc as rpc

from services.mesh.call import errors
from services.mesh.testing.waiting import until
from services.mesh.transport.remote.channel import RemoteChannel
from services.mesh.transport.routed import RoutedChannel
from tests.mesh.transport.channel.conftest import Wire

if TYPE_CHECKING:
    from soma.testing.v1.echo_service_pb2_grpc import EchoServiceAsyncStub as Stub

FAILING = pb.Script(fail_code=errors.Code.NOT_FOUND, fail_message="no such thing", retry_after_seconds=2.5)
SLOW = pb.Script(delay_seconds=30)
CLASSES = {kind.code: kind for kind in errors.MeshError.__subclasses__() if kind.__module__ == errors.__name__}


def routed(channel: Any) -> "Stub":
    return rpc.EchoServiceStub(RoutedChannel(lambda: channel))


@pytest.fixture
def stub(wire: Wire) -> "Stub":
    """The transport as `mesh.connect` gives it to a service."""
    return routed(wire.channel)


async def uploads(script: pb.Script) -> AsyncIterator[pb.CollectEchoesRequest]:
    yield pb.CollectEchoesRequest(script=script, last=True)


async def chats(script: pb.Script) -> AsyncIterator[pb.ChatEchoesRequest]:
    yield pb.ChatEchoesRequest(script=script)


async def iterated(call: Any) -> None:
    async for _ in call:
        pass


async def one_by_one(call: Any) -> None:
    while await call.read() is not grpc.aio.EOF:
        pass


async def answered(call: Awaitable[object]) -> None:
    await call


async def written(call: Any) -> None:
    """Write until the call has ended."""
    while True:
        await call.write(pb.ChatEchoesRequest(script=FAILING))


Start = Callable[["Stub", pb.Script, float | None], Any]
Finish = Callable[[Any], Awaitable[None]]
WAYS: dict[str, tuple[Start, Finish]] = {
    "unary": (lambda stub, script, timeout: stub.Echo(pb.EchoRequest(script=script), timeout=timeout), answered),
    "server stream, iterated": (
        lambda stub, script, timeout: stub.StreamEcho(pb.StreamEchoRequest(script=script), timeout=timeout),
        iterated,
    ),
    "server stream, read": (
        lambda stub, script, timeout: stub.StreamEcho(pb.StreamEchoRequest(script=script), timeout=timeout),
        one_by_one,
    ),
    "client stream": (
        lambda stub, script, timeout: stub.CollectEchoes(uploads(script), timeout=timeout),
        answered,
    ),
    "both ways, iterated": (lambda stub, script, timeout: stub.ChatEchoes(chats(script), timeout=timeout), iterated),
    "both ways, read": (lambda stub, script, timeout: stub.ChatEchoes(chats(script), timeout=timeout), one_by_one),
}


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> tuple[Start, Finish]:
    """How a call is started, and how its end is awaited."""
    return WAYS[request.param]


def facts(error: errors.MeshError) -> tuple[object, ...]:
    violations = [(each.field, each.description) for each in error.facts.violations]
    return (
        type(error),
        error.code,
        error.reason,
        error.message,
        error.facts.metadata,
        error.facts.retry_after,
        violations,
    )


async def test_an_error_is_complete_however_the_call_is_awaited(stub: "Stub", way: tuple[Start, Finish]) -> None:
    start, finish = way
    call = start(stub, FAILING, None)
    for _ in range(2):
        with pytest.raises(errors.NotFound) as caught:
            await finish(call)
        assert facts(caught.value) == (
            errors.NotFound,
            errors.Code.NOT_FOUND,
            "NOT_FOUND",
            "no such thing",
            {"scripted": "yes"},
            2.5,
            [("script", "asked to fail")],
        )
    assert await call.code() is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize("code", errors.Code)
async def test_an_error_has_the_class_of_its_status(stub: "Stub", code: errors.Code) -> None:
    with pytest.raises(errors.MeshError) as caught:
        await stub.Echo(pb.EchoRequest(script=pb.Script(fail_code=code, fail_message="as asked")))
    assert type(caught.value) is CLASSES.get(code, errors.MeshError)
    assert (caught.value.code, caught.value.reason, caught.value.message) == (code, code.name, "as asked")


async def test_an_error_that_a_servicer_passes_on_reaches_its_caller_unchanged(stub: "Stub") -> None:
    script = pb.Script(hops=2)
    script.MergeFrom(FAILING)
    told = []
    for each in (FAILING, script):
        with pytest.raises(errors.NotFound) as caught:
            await stub.Echo(pb.EchoRequest(script=each))
        told.append(facts(caught.value))
    assert told[0] == told[1]


async def test_a_deadline_that_passes_is_deadline_exceeded(stub: "Stub", way: tuple[Start, Finish]) -> None:
    start, finish = way
    with pytest.raises(errors.DeadlineExceeded):
        await finish(start(stub, SLOW, 0.1))


async def test_a_call_that_its_caller_cancels_raises_cancelled_error(
    wire: Wire, stub: "Stub", way: tuple[Start, Finish]
) -> None:
    start, finish = way
    call = start(stub, SLOW, None)
    await until(lambda: wire.tally.running == 1)
    assert call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await finish(call)
    await wire.quiet()


async def test_writing_to_a_call_that_fails_raises_no_error_of_grpc(stub: "Stub") -> None:
    # The error depends on when the end is noticed; on a socket it may be INTERNAL: "ends badly under writes".
    with pytest.raises((errors.MeshError, asyncio.InvalidStateError)):
        await written(stub.ChatEchoes())


async def test_done_callbacks_get_the_call_that_was_started(stub: "Stub", way: tuple[Start, Finish]) -> None:
    start, finish = way
    call = start(stub, FAILING, None)
    told: list[Any] = []
    call.add_done_callback(told.append)
    with pytest.raises(errors.NotFound):
        await finish(call)
    await until(lambda: bool(told))
    assert told == [call]
    assert await told[0].code() is grpc.StatusCode.NOT_FOUND


async def test_an_unknown_method_is_unimplemented(wire: Wire) -> None:
    shout: Any = RoutedChannel(lambda: wire.channel).unary_unary(
        "/soma.testing.v1.EchoService/Shout", pb.EchoRequest.SerializeToString, pb.EchoResponse.FromString
    )
    with pytest.raises(errors.Unimplemented):
        await shout(pb.EchoRequest())


async def test_the_channel_behind_a_routed_one_raises_what_grpc_raises(wire: Wire, stub: "Stub") -> None:
    with pytest.raises(errors.NotFound):
        await stub.Echo(pb.EchoRequest(script=FAILING))
    with pytest.raises(grpc.aio.AioRpcError):
        await wire.stub.Echo(pb.EchoRequest(script=FAILING))


@pytest.mark.parametrize("finish", [iterated, one_by_one, written, lambda call: call.wait_for_connection()])
async def test_a_stream_to_an_address_without_a_server_is_instance_lost(tmp_path: Path, finish: Finish) -> None:
    channel = RemoteChannel(f"unix:{tmp_path}/nobody.sock")
    with pytest.raises(errors.Unavailable) as caught:
        await finish(routed(channel).ChatEchoes())
    assert (caught.value.reason, caught.value.facts.retry_after) == ("INSTANCE_LOST", 1.0)
    assert "nobody.sock" not in caught.value.message
    await channel.close()


async def test_a_call_to_an_address_without_a_server_is_instance_lost(tmp_path: Path) -> None:
    channel = RemoteChannel(f"unix:{tmp_path}/nobody.sock")
    with pytest.raises(errors.Unavailable) as caught:
        await routed(channel).Echo(pb.EchoRequest())
    assert caught.value.reason == "INSTANCE_LOST"
    # The transport's own text is only for the log.
    assert isinstance(caught.value.__cause__, grpc.aio.AioRpcError)
    await channel.close()
