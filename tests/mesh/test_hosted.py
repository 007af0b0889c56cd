"""The test host of a service: its real build and jobs, neighbours of the test, and the order of closing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any, cast

import grpc
import pytest
from soma.testing.v1.echo_service_pb2 import EchoRequest
from soma.testing.v1.echo_service_pb2_grpc import EchoServiceStub, add_EchoServiceServicer_to_server

from services.mesh.call.call import run_as
from services.mesh.call.status import from_rpc_error
from services.mesh.declaration import Declaration, NoSettings
from services.mesh.mesh import Mesh
from services.mesh.parts import Opened, Part
from services.mesh.process.jobs import Job
from services.mesh.service import Service
from services.mesh.testing.echo import EchoServicer
from services.mesh.testing.hosted import Neighbour, hosted
from services.mesh.testing.local import SOMEBODY
from services.mesh.testing.neighbours import registrations, served


async def forward(mesh: Mesh, _settings: NoSettings, _stack: AsyncExitStack) -> Service:
    """An echo that sends further hops to its neighbour."""
    echo = EchoServicer(peer=lambda: EchoServiceStub(mesh.connect("testing")))
    return Service(servicers=((add_EchoServiceServicer_to_server, echo),))


FORWARD = Declaration("forward", forward, NoSettings, neighbours=("testing",))


@pytest.fixture(params=["here", "apart"])
async def echo(request: pytest.FixtureRequest) -> AsyncIterator[tuple[EchoServicer, Neighbour]]:
    """A servicer as a neighbour: in this process, and behind a socket."""
    servicer = EchoServicer()
    async with served(servicer) as elsewhere:
        yield servicer, (servicer,) if request.param == "here" else elsewhere.address


async def test_a_service_calls_the_neighbour_that_the_test_gives(echo: tuple[EchoServicer, Neighbour]) -> None:
    servicer, neighbour = echo
    declaration = Declaration("caller", _calling, NoSettings, neighbours=("testing",))
    async with hosted(declaration, neighbours={"testing": neighbour}) as caller:
        with run_as(SOMEBODY, timeout=10):
            await caller.service.checks["neighbour"]()
    assert servicer.tally.served == 1


async def _calling(mesh: Mesh, _settings: NoSettings, _stack: AsyncExitStack) -> Service:
    stub = EchoServiceStub(mesh.connect("testing"))

    async def check() -> None:
        await stub.Echo(EchoRequest(text="Hi"))

    return Service(checks={"neighbour": check})


async def test_a_neighbour_that_is_left_out_is_unavailable() -> None:
    async with hosted(FORWARD) as service:
        with run_as(SOMEBODY, timeout=10), pytest.raises(grpc.aio.AioRpcError) as failure:
            request = EchoRequest(text="Hi")
            request.script.hops = 1
            await EchoServiceStub(service.channel).Echo(request)
    assert from_rpc_error(failure.value).reason == "SERVICE_UNAVAILABLE"


async def test_a_neighbour_that_is_not_declared_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="forward declares no neighbour memory"):
        async with hosted(FORWARD, neighbours={"memory": (EchoServicer(),)}):
            pass


async def test_a_part_that_the_service_needs_is_given_by_the_test() -> None:
    declaration = Declaration("forward", forward, NoSettings, needs=("postgres", "redis"), neighbours=("testing",))
    with pytest.raises(ValueError, match="forward needs postgres and redis, which the test does not give"):
        async with hosted(declaration):
            pass


async def test_a_test_gives_any_part_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    clients: list[object] = []

    async def build(mesh: Mesh, _settings: NoSettings, _stack: AsyncExitStack) -> Service:
        clients.append(mesh.opened(kiln).client)
        return Service()

    async def ping(_client: str) -> None:
        """A check that always succeeds."""

    kiln = Part("kiln", cast(Any, None), ping)
    monkeypatch.setattr("services.mesh.parts.PARTS", {"kiln": kiln})
    declaration = Declaration("painter", build, NoSettings, needs=("kiln",))
    async with hosted(declaration, others={"kiln": Opened.of(kiln, "hot")}):
        assert clients == ["hot"]


async def test_a_test_calls_as_the_principal_that_it_names() -> None:
    async with hosted(FORWARD, caller=SOMEBODY) as service:
        answer = await EchoServiceStub(service.channel).Echo(EchoRequest(text="Hi"))
    assert answer.observation.subject == SOMEBODY.subject


async def test_jobs_have_ended_before_the_resources_of_build_are_closed() -> None:
    happened: list[str] = []
    begun = asyncio.Event()

    async def follow() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            happened.append("job ended")

    async def build(_mesh: Mesh, _settings: NoSettings, stack: AsyncExitStack) -> Service:
        stack.callback(happened.append, "closed")
        return Service(jobs=(Job("follow", follow),))

    async with hosted(Declaration("busy", build, NoSettings)):
        async with asyncio.timeout(15):
            await begun.wait()
        assert happened == []
    assert happened == ["job ended", "closed"]


def test_an_object_without_a_contract_is_refused_as_neighbour() -> None:
    with pytest.raises(TypeError, match="object derives from no generated servicer"):
        registrations([object()])
