"""To which instances the publisher lets Envoy send calls."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from soma.mesh.v1 import registry_service_pb2 as registry_pb
from soma.mesh.v1 import surface_pb2

from gateway.publisher import Publisher, admit, endpoints, http_endpoints, serving, unary_endpoints, unary_over_http1
from gateway.surfaces import Surfaces
from gateway.xds.server import XdsServer
from gateway.xds.snapshot import Endpoint, Limits, Snapshot, Tls
from gateway.xds.state import NodeState, XdsState
from services.mesh.call.errors import InvalidArgument
from services.mesh.call.interceptors.drain import Drain
from services.mesh.process.jobs import run_job
from services.mesh.process.registry.leases import Joined
from services.mesh.process.registry.service import RegistryService
from services.mesh.transport.directory import Directory
from services.mesh.transport.server import Server

NOTES = "soma.testing.v1.NoteService"
OLD, NEW = "", "127.0.0.1:20"


def joined(port: int, unary_address: str, *faults: tuple[str, str]) -> Joined:
    """An instance that serves NoteService over gRPC on a port."""
    return Joined(
        instance_id=str(port),
        services=("testing",),
        grpc_services=(NOTES,),
        grpc_address=f"127.0.0.1:{port}",
        unary_address=unary_address,
        http_addresses={},
        admin_address="",
        pid=1,
        version="1",
        heard=0.0,
        faults=faults,
    )


def ports(found: tuple[Endpoint, ...]) -> list[int]:
    """The ports of endpoints, which must be on 127.0.0.1."""
    assert {endpoint.host for endpoint in found} <= {"127.0.0.1"}
    return [endpoint.port for endpoint in found]


def test_unary_calls_go_over_http1_once_every_instance_accepts_them() -> None:
    assert unary_over_http1([], NOTES)
    assert unary_over_http1([joined(10, NEW)], NOTES)
    assert not unary_over_http1([joined(10, NEW), joined(11, OLD)], NOTES)
    assert unary_over_http1([joined(11, OLD)], "soma.testing.v1.EchoService")


def test_endpoints_are_published_before_calls_are_sent_to_them() -> None:
    instances = [joined(10, NEW), joined(11, OLD)]
    assert ports(unary_endpoints(instances, NOTES)) == [20]
    assert ports(endpoints(instances, NOTES)) == [10, 11]


def test_an_instance_with_a_fault_gets_no_calls_of_either_kind_unless_all_have_one() -> None:
    fault = ("testing", "down")
    one = [joined(10, NEW), joined(11, "127.0.0.1:21", fault)]
    assert (ports(endpoints(one, NOTES)), ports(unary_endpoints(one, NOTES)), serving(one, NOTES)) == ([10], [20], True)
    all_of_them = [joined(10, NEW, fault), joined(11, "127.0.0.1:21", fault)]
    assert (ports(endpoints(all_of_them, NOTES)), ports(unary_endpoints(all_of_them, NOTES))) == ([10, 11], [20, 21])
    assert not serving(all_of_them, NOTES)


def test_openais_api_goes_to_the_edge_whatever_else_serves_http() -> None:
    both = replace(joined(10, NEW), http_addresses={"testing": "127.0.0.1:30", "edge": "127.0.0.1:31"})
    other = replace(joined(11, NEW), http_addresses={"testing": "127.0.0.1:32"})
    assert ports(http_endpoints([both, other], "edge", {"10", "11"})) == [31]


def test_requests_to_a_surface_go_to_the_instances_that_serve_it() -> None:
    instances = [replace(joined(port, NEW), http_addresses={"edge": f"127.0.0.1:{port + 20}"}) for port in (10, 11)]
    assert ports(http_endpoints(instances, "edge", {"11"})) == [31]


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"grpc_address": "memory.example:10"}, "grpc_address"),
        ({"grpc_address": "", "grpc_services": [NOTES]}, "grpc_address"),
        ({"unary_address": "localhost:20"}, "unary_address"),
        ({"http_address": "127.0.0.1"}, "http_address"),
        ({"http_addresses": {"edge": "edge.example:30"}}, "the HTTP address of edge"),
        ({"http_addresses": {"edge": ""}}, "the HTTP address of edge"),
    ],
)
def test_an_instance_whose_address_envoy_cannot_use_is_not_admitted(fields: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidArgument, match=named) as refused:
        admit(registry_pb.Instance(**({"grpc_address": "127.0.0.1:10"} | fields)))
    assert refused.value.reason == "ADDRESS_NOT_IP"


def test_an_instance_that_only_calls_others_needs_no_address() -> None:
    admit(registry_pb.Instance())
    admit(registry_pb.Instance(grpc_address="[::1]:10", unary_address="127.0.0.1:20", http_addresses={"a": "[::1]:1"}))


class FailingOnce(XdsServer):
    """Fails to publish the first time."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0
        self.published = asyncio.Event()

    async def publish(self, snapshot: Snapshot) -> None:
        self.asked += 1
        if self.asked == 1:
            raise RuntimeError("nobody expected this")
        self.published.set()


def publishing(registry: RegistryService, xds: XdsServer, server: Server, file: Path) -> Publisher:
    """A publisher of a registry."""
    here = Endpoint("127.0.0.1", 1)
    return Publisher(
        registry,
        xds,
        server,
        Surfaces((), (), file, 0.0),
        listen=here,
        control_http=here,
        control_grpc=here,
        access_log="",
        limits=Limits(),
        cors_origins=(),
        tls=Tls(),
    )


async def test_a_change_that_could_not_be_published_is_published_without_waiting_for_another(tmp_path: Path) -> None:
    changes = []

    class Registry(RegistryService):
        def watch(self, changed: Callable[[], None]) -> None:
            changes.append(changed)

    xds, server = FailingOnce(), Server({}, Drain(), max_message_bytes=1 << 20)
    publisher = publishing(Registry(Directory()), xds, server, tmp_path / "surfaces.json")
    async with AsyncExitStack() as stack, asyncio.timeout(10):
        stack.push_async_callback(server.stop, 0.0)
        run_job(stack, "control", publisher.job)
        for changed in changes:
            changed()
        await xds.published.wait()
    assert xds.asked == 2


class FakeEnvoy(XdsServer):
    """Has one Envoy; the test decides which version it has accepted."""

    def __init__(self) -> None:
        super().__init__()
        self.accepting = False
        self.published: list[Snapshot] = []

    async def publish(self, snapshot: Snapshot) -> None:
        self.published.append(snapshot)

    def state(self) -> XdsState:
        return XdsState({"routes": "2"}, {"envoy": NodeState(1, {"routes": "2" if self.accepting else "1"})}, False)


async def test_an_instance_is_reached_once_envoy_has_accepted_the_routes_to_its_surfaces(tmp_path: Path) -> None:
    surface = surface_pb2.Surface(service="testing", name="api", paths=["/a"])
    plain = joined(10, NEW)
    speaking = replace(joined(11, NEW), http_addresses={"testing": "127.0.0.1:31"}, surfaces=(surface,))

    class Registry(RegistryService):
        @property
        def instances(self) -> list[Joined]:
            return [plain, speaking]

    xds, server = FakeEnvoy(), Server({}, Drain(), max_message_bytes=1 << 20)
    publisher = publishing(Registry(Directory()), xds, server, tmp_path / "surfaces.json")
    xds.accepting = True
    # Envoy has accepted only the version before.
    assert [publisher.reached(each) for each in (plain, speaking)] == [True, False]
    xds.accepting = False
    await publisher.publish()
    assert (xds.published[0].surfaces, ports(xds.published[0].http["testing"])) == ((surface,), [31])
    assert not publisher.reached(speaking)
    xds.accepting = True
    assert publisher.reached(speaking)
    # A later change does not matter: Envoy has had the routes once.
    xds.accepting = False
    assert publisher.reached(speaking)
    await server.stop(0.0)
