"""Leases: an instance that joins is known at once; one that is silent or gone is not; faults are reported."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st
from soma.mesh.v1 import registry_service_pb2 as pb
from soma.mesh.v1.registry_service_pb2_grpc import RegistryServiceStub, add_RegistryServiceServicer_to_server
from soma.mesh.v1.surface_pb2 import SurfaceRefusal
from soma.testing.v1 import echo_service_pb2
from soma.testing.v1.echo_service_pb2_grpc import EchoServiceStub

from services.mesh.call import errors
from services.mesh.call.call import run_as
from services.mesh.call.carrier import RemoteCarrier
from services.mesh.call.status import from_rpc_error
from services.mesh.call.token import METADATA_KEY
from services.mesh.process.registry.leases import LEASE_SECONDS, Joined
from services.mesh.process.registry.membership import Membership
from services.mesh.process.registry.service import RegistryService
from services.mesh.testing.local import KEY, SIGNER, SOMEBODY, LocalMesh
from services.mesh.testing.waiting import until
from services.mesh.transport.directory import Directory, Endpoint, usable
from services.mesh.transport.remote.channel import RemoteChannel
from services.mesh.transport.routed import RoutedChannel
from services.mesh.transport.router import Router
from services.mesh.transport.server import Server


class Registry:
    """A registry on a free port, and the directory that it fills."""

    def __init__(self, admit: Callable[[pb.Instance], None] = lambda _: None) -> None:
        self.directory = Directory()
        self.port = 0
        self.service = RegistryService(self.directory, admit)
        mesh = LocalMesh(((add_RegistryServiceServicer_to_server, self.service),))
        self.server = Server(mesh.handlers, mesh.drain, max_message_bytes=4 << 20)
        self.changes: asyncio.Queue[None] = asyncio.Queue()
        self.service.watch(lambda: self.changes.put_nowait(None))

    async def until(self, *services: str) -> None:
        """Wait until exactly these services are known."""
        async with asyncio.timeout(15):
            while self.directory.services != sorted(services):
                await self.changes.get()


@pytest.fixture
async def registry() -> AsyncIterator[Registry]:
    """A registry without members."""
    made = Registry()
    made.port = await made.server.start("127.0.0.1:0")
    yield made
    await made.server.stop(0)


@asynccontextmanager
async def connected(registry: Registry) -> AsyncIterator[grpc.aio.Channel]:
    """A channel to it."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{registry.port}") as channel:
        yield channel


def instance(*services: str) -> pb.Instance:
    """An instance that serves these services."""
    return pb.Instance(instance_id=str(uuid.uuid4()), services=services, grpc_address="127.0.0.1:1")


def to(port: int) -> Callable[[], grpc.aio.Channel]:
    """A function that opens channels to a registry."""
    return lambda: RemoteChannel(f"127.0.0.1:{port}")


def member(port: int, announced: pb.Instance, faults: dict[str, str]) -> Membership:
    """A membership that reports `faults`."""
    return Membership(to(port), announced, lambda: faults, Directory(), SIGNER)


async def test_an_instance_is_known_while_its_stream_is_open(registry: Registry) -> None:
    membership = member(registry.port, instance("memory"), {})
    await membership.join()
    assert registry.directory.pick("memory") == "127.0.0.1:1"
    await membership.leave()
    await registry.until()
    assert registry.directory.pick("memory") is None


async def test_every_member_learns_of_all_members(registry: Registry) -> None:
    seen = Directory()
    changed = asyncio.Event()
    seen.watch(changed.set)
    watching = Membership(to(registry.port), instance(), dict, seen, SIGNER)
    await watching.join()
    other = member(registry.port, instance("memory"), {})
    await other.join()
    async with asyncio.timeout(15):
        while seen.services != ["memory"]:
            changed.clear()
            await changed.wait()
    await other.leave()
    async with asyncio.timeout(15):
        while seen.services:
            changed.clear()
            await changed.wait()
    await watching.leave()


async def test_a_silent_instance_loses_its_lease(registry: Registry) -> None:
    silence = asyncio.Event()

    async def once() -> AsyncIterator[pb.RegisterRequest]:
        yield pb.RegisterRequest(instance=instance("memory"))
        await silence.wait()

    async with connected(registry) as channel:
        stub: Any = RegistryServiceStub(channel)
        started = asyncio.get_running_loop().time()
        with pytest.raises(grpc.aio.AioRpcError) as ended:
            await drained(stub.Register(once(), metadata=((METADATA_KEY, SIGNER.sign(None)),)))
        silence.set()
    assert from_rpc_error(ended.value).reason == "LEASE_EXPIRED"
    assert asyncio.get_running_loop().time() - started >= LEASE_SECONDS
    assert registry.service.instances == []


async def drained(stream: Any) -> None:
    """Read a stream to its end."""
    async for _ in stream:
        pass


async def test_a_fault_is_known_before_the_next_renewal(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("membership._RENEW_SECONDS", "leases.LEASE_SECONDS", "service.LEASE_SECONDS"):
        monkeypatch.setattr(f"services.mesh.process.registry.{name}", 60.0)
    faults: dict[str, str] = {}
    membership = member(registry.port, instance("memory"), faults)
    await membership.join()
    faults["memory"] = "postgres: refused"
    membership.health_changed()
    async with asyncio.timeout(15):
        while registry.directory.all("memory")[0].serving:
            await registry.changes.get()
    assert registry.directory.all("memory")[0].reason == "postgres: refused"
    await membership.leave()


async def test_a_service_without_an_optional_part_is_served_and_the_part_is_named(registry: Registry) -> None:
    missing = {"orchestrator": {"postgres": "", "redis": "it is away"}}
    membership = Membership(to(registry.port), instance("orchestrator"), dict, Directory(), SIGNER, lambda: missing)
    await membership.join()
    (joined,) = registry.service.instances
    assert joined.faults == ()
    assert joined.dependencies == (("orchestrator", "postgres", ""), ("orchestrator", "redis", "it is away"))
    assert registry.directory.all("orchestrator")[0].serving
    missing["orchestrator"]["redis"] = ""
    membership.health_changed()

    async def told() -> bool:
        return registry.service.instances[0].dependencies[1] == ("orchestrator", "redis", "")

    await until(told)
    await membership.leave()


@pytest.mark.parametrize("metadata", [(), (("x-api-key", KEY),)])
async def test_a_client_from_outside_cannot_join(registry: Registry, metadata: Any) -> None:
    async def one() -> AsyncIterator[pb.RegisterRequest]:
        yield pb.RegisterRequest(instance=instance("memory"))

    async with connected(registry) as channel:
        stub: Any = RegistryServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await drained(stub.Register(one(), metadata=metadata))
    assert from_rpc_error(refused.value).reason == "METHOD_INTERNAL"
    assert registry.service.instances == []


async def test_a_member_joins_again_when_the_registry_comes_back() -> None:
    first = Registry()
    port = await first.server.start("127.0.0.1:0")
    membership = member(port, instance("memory"), {})
    await membership.join()
    await first.server.stop(0)
    second = Registry()
    await second.server.start(f"127.0.0.1:{port}")
    await second.until("memory")
    await membership.leave()
    await second.server.stop(0)


async def test_a_call_to_a_service_without_an_instance_is_unavailable_and_names_the_service() -> None:
    directory = Directory()
    router = Router({}, directory, RemoteCarrier(SIGNER), 4 << 20)
    stub: Any = EchoServiceStub(RoutedChannel(lambda: router.route("echo")))
    with run_as(SOMEBODY), pytest.raises(errors.MeshError) as failed:
        await stub.Echo(echo_service_pb2.EchoRequest())
    with run_as(SOMEBODY), pytest.raises(errors.MeshError) as streamed:
        await drained(stub.StreamEcho(echo_service_pb2.StreamEchoRequest()))
    for raised in (failed, streamed):
        error = raised.value
        assert (error.code, error.reason) == (errors.Code.UNAVAILABLE, "SERVICE_UNAVAILABLE")
        assert error.facts.metadata == {"service": "echo"}


def endpoint(name: str, serving: bool) -> Endpoint:
    """An endpoint of a service."""
    return Endpoint("s", name, name, serving)


@given(st.lists(st.booleans(), max_size=6))
def test_faulty_endpoints_are_used_only_if_all_endpoints_are_faulty(states: list[bool]) -> None:
    endpoints = [endpoint(str(n), state) for n, state in enumerate(states)]
    chosen = usable(endpoints)
    assert chosen == ([e for e in endpoints if e.serving] or endpoints)


def test_calls_go_to_the_endpoints_in_turn() -> None:
    directory = Directory()
    directory.replace([endpoint("a", True), endpoint("b", True), endpoint("c", False)])
    assert sorted(directory.pick("s") or "" for _ in range(10)) == ["a"] * 5 + ["b"] * 5


def test_alternating_calls_to_two_services_reach_every_endpoint_of_both() -> None:
    directory = Directory()
    directory.replace(
        [Endpoint(service, f"{service}{number}", f"{service}{number}") for service in "st" for number in (1, 2)]
    )
    picked = [directory.pick(service) for _ in range(4) for service in "st"]
    assert sorted(address or "" for address in picked) == ["s1"] * 2 + ["s2"] * 2 + ["t1"] * 2 + ["t2"] * 2


def test_a_lease_ends_after_its_time_without_a_renewal_and_not_before() -> None:
    joined = Joined("i", ("s",), (), "a", "", {}, "", 1, "v", heard=10.0)
    assert not joined.expired(10.0 + LEASE_SECONDS)
    assert joined.expired(10.1 + LEASE_SECONDS)
    assert not joined.heard_at(12.0).expired(10.1 + LEASE_SECONDS)


async def test_the_http_servers_of_an_instance_are_known_by_service(registry: Registry) -> None:
    announced = instance("edge", "testing")
    announced.http_addresses.update({"edge": "127.0.0.1:1", "testing": "127.0.0.1:2"})
    # An instance of an earlier version announces its address in this field.
    earlier = instance("edge")
    earlier.http_address = "127.0.0.1:3"
    members = [member(registry.port, each, {}) for each in (announced, earlier)]
    try:
        for each in members:
            await each.join()
        known = {joined.instance_id: dict(joined.http_addresses) for joined in registry.service.instances}
    finally:
        for each in members:
            await each.leave()
    assert known == {
        announced.instance_id: {"edge": "127.0.0.1:1", "testing": "127.0.0.1:2"},
        earlier.instance_id: {"edge": "127.0.0.1:3"},
    }


async def test_an_instance_learns_which_of_its_surfaces_are_refused(registry: Registry) -> None:
    announced = [instance("edge"), instance("testing")]
    announced[0].surfaces.add(service="edge", name="api", paths=["/a"])
    members = [member(registry.port, each, {}) for each in announced]
    for each in members:
        await each.join()
    assert [len(joined.surfaces) for joined in registry.service.instances] == [1, 0]
    refusal = SurfaceRefusal(service="edge", name="api", reason="SURFACE_TAKEN", message="/a is another's")
    registry.service.refuse({announced[0].instance_id: [refusal]})

    async def told(*refused: SurfaceRefusal) -> bool:
        return members[0].refused == refused

    await until(lambda: told(refusal))
    assert members[1].refused == ()
    registry.service.refuse({})
    await until(told)
    for each in members:
        await each.leave()


async def test_an_instance_that_is_not_admitted_gets_the_reason_and_does_not_join() -> None:
    def admit(announced: pb.Instance) -> None:
        if "memory" in announced.services:
            raise errors.InvalidArgument("not you", reason="ADDRESS_NOT_IP")

    registry = Registry(admit)
    port = registry.port = await registry.server.start("127.0.0.1:0")

    async def one() -> AsyncIterator[pb.RegisterRequest]:
        yield pb.RegisterRequest(instance=instance("memory"))

    async with connected(registry) as channel:
        stub: Any = RegistryServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await drained(stub.Register(one(), metadata=((METADATA_KEY, SIGNER.sign(None)),)))
    error = from_rpc_error(refused.value)
    assert (error.code, error.reason, error.message) == (errors.Code.INVALID_ARGUMENT, "ADDRESS_NOT_IP", "not you")
    other = member(port, instance("policy"), {})
    await other.join()
    assert registry.directory.services == ["policy"]
    await other.leave()
    await registry.server.stop(0)


async def test_an_instance_tries_to_join_again_after_any_error(registry: Registry) -> None:
    refusals: list[Exception] = [OSError("a certificate cannot be read"), ValueError("nobody expected this")]

    def connect() -> grpc.aio.Channel:
        if refusals:
            raise refusals.pop()
        return RemoteChannel(f"127.0.0.1:{registry.port}")

    joining = Membership(connect, instance("memory"), dict, Directory(), SIGNER)
    async with asyncio.timeout(10):
        await joining.join()
    assert registry.directory.services == ["memory"]
    await joining.leave()
