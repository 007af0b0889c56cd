"""An answer leaves the process only when what it depends on is durable; calls inside the process do not wait."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from soma.errors.v1 import reasons
from soma.testing.v1 import echo_service_pb2 as pb
from soma.testing.v1.echo_service_pb2_grpc import EchoServiceStub

from services.mesh.call import errors
from services.mesh.call.barrier import Barrier, before_answer
from services.mesh.call.call import run_as
from services.mesh.call.status import from_rpc_error
from services.mesh.testing.echo import EchoServicer
from services.mesh.testing.local import KEY, SOMEBODY, LocalMesh
from services.mesh.testing.neighbours import registrations, served

AUTHORIZED = (("authorization", f"Bearer {KEY}"),)
HELD, FREE = "held", "free"


class Recorder(EchoServicer):
    """Answers at once, but the answers to `HELD` depend on `durable`."""

    def __init__(self) -> None:
        super().__init__()
        self.durable: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.passed = asyncio.Event()

    async def Echo(self, request: pb.EchoRequest, context: Any) -> pb.EchoResponse:
        if request.text == HELD:
            await before_answer(self.durable)
        self.passed.set()
        return pb.EchoResponse(text=request.text)

    async def StreamEcho(self, request: pb.StreamEchoRequest, context: Any) -> AsyncIterator[pb.StreamEchoResponse]:
        yield pb.StreamEchoResponse(text=FREE)
        await before_answer(self.durable)
        self.passed.set()
        yield pb.StreamEchoResponse(text=HELD)


class Front(EchoServicer):
    """Asks a neighbour in its own process, without a wait of its own."""

    def __init__(self, neighbour: Recorder) -> None:
        super().__init__()
        self._stub: Any = EchoServiceStub(LocalMesh(registrations([neighbour])).channel)

    async def Echo(self, request: pb.EchoRequest, context: Any) -> pb.EchoResponse:
        response: pb.EchoResponse = await self._stub.Echo(request)
        return response


@pytest.fixture
async def recorder() -> Recorder:
    return Recorder()


@pytest.fixture(params=["served", "behind another"])
async def outside(request: pytest.FixtureRequest, recorder: Recorder) -> AsyncIterator[Any]:
    """A stub of a client in another process."""
    servicer = recorder if request.param == "served" else Front(recorder)
    async with served(servicer) as server, grpc.aio.insecure_channel(server.address) as channel:
        yield EchoServiceStub(channel)


async def answers_others(stub: Any) -> None:
    """Have other calls answered, so that what has no answer then is held back."""
    for _ in range(3):
        assert (await stub.Echo(pb.EchoRequest(text=FREE), metadata=AUTHORIZED)).text == FREE


async def test_an_answer_to_another_process_is_held_back(outside: Any, recorder: Recorder) -> None:
    call = asyncio.ensure_future(outside.Echo(pb.EchoRequest(text=HELD), metadata=AUTHORIZED))
    await recorder.passed.wait()
    await answers_others(outside)
    assert not call.done()
    recorder.durable.set_result(None)
    assert (await call).text == HELD


async def test_what_could_not_be_made_durable_is_the_error_of_the_call(outside: Any, recorder: Recorder) -> None:
    call = outside.Echo(pb.EchoRequest(text=HELD), metadata=AUTHORIZED)
    await recorder.passed.wait()
    recorder.durable.set_exception(errors.Unavailable("away", reason=reasons.POSTGRES_UNAVAILABLE))
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call
    assert from_rpc_error(raised.value).reason == reasons.POSTGRES_UNAVAILABLE


async def test_the_messages_of_a_stream_are_held_back_from_there_on(recorder: Recorder) -> None:
    async with served(recorder) as server, grpc.aio.insecure_channel(server.address) as channel:
        stub: Any = EchoServiceStub(channel)
        call = stub.StreamEcho(pb.StreamEchoRequest(text="x"), metadata=AUTHORIZED)
        assert (await call.read()).text == FREE
        await recorder.passed.wait()
        last = asyncio.create_task(call.read())
        await answers_others(stub)
        assert not last.done()
        recorder.durable.set_result(None)
        assert (await last).text == HELD


async def test_a_call_inside_the_process_goes_on(recorder: Recorder) -> None:
    stub: Any = EchoServiceStub(LocalMesh(registrations([recorder])).channel)
    barrier = Barrier()
    with run_as(SOMEBODY, barrier=barrier):
        assert (await stub.Echo(pb.EchoRequest(text=HELD))).text == HELD
    assert barrier
    passed = asyncio.create_task(barrier.passed())
    await asyncio.sleep(0)
    assert not passed.done()
    recorder.durable.set_result(None)
    await passed
    assert not barrier


@pytest.mark.parametrize("answered", [False, True])
async def test_work_without_a_client_waits_itself(recorder: Recorder, answered: bool) -> None:
    stub: Any = EchoServiceStub(LocalMesh(registrations([recorder])).channel)
    barrier = Barrier() if answered else None
    if barrier is not None:
        barrier.open()
    with run_as(SOMEBODY, barrier=barrier):
        call = asyncio.ensure_future(stub.Echo(pb.EchoRequest(text=HELD)))
        await answers_others(stub)
        assert not call.done()
        recorder.durable.set_result(None)
        assert (await call).text == HELD
