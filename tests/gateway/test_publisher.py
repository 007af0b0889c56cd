"""Where the publisher has calls sent."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import replace

from gateway.publisher import Publisher, edges, endpoints, over_http1, serving, unary
from gateway.xds.server import XdsServer
from gateway.xds.snapshot import Endpoint, Limits, Snapshot, Tls
from services.mesh.call.interceptors.drain import Drain
from services.mesh.process.jobs import run_job
from services.mesh.process.registry.directory import Directory
from services.mesh.process.registry.leases import Joined
from services.mesh.process.registry.service import RegistryService
from services.mesh.transport.server import Server

NOTES = "soma.testing.v1.NoteService"
OLD, NEW = "", "127.0.0.1:20"


def joined(port: int, unary_address: str, *faults: tuple[str, str]) -> Joined:
    """An instance that serves notes by gRPC on a port."""
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
    """Of 127.0.0.1."""
    assert {endpoint.host for endpoint in found} <= {"127.0.0.1"}
    return [endpoint.port for endpoint in found]


def test_unary_calls_go_over_http1_once_every_instance_takes_them() -> None:
    assert over_http1([], NOTES)
    assert over_http1([joined(10, NEW)], NOTES)
    assert not over_http1([joined(10, NEW), joined(11, OLD)], NOTES)
    assert over_http1([joined(11, OLD)], "soma.testing.v1.EchoService")


def test_endpoints_are_there_before_calls_are_sent_to_them() -> None:
    instances = [joined(10, NEW), joined(11, OLD)]
    assert ports(unary(instances, NOTES)) == [20]
    assert ports(endpoints(instances, NOTES)) == [10, 11]


def test_an_instance_with_a_fault_gets_no_calls_of_either_kind_unless_all_have_one() -> None:
    fault = ("testing", "down")
    one = [joined(10, NEW), joined(11, "127.0.0.1:21", fault)]
    assert (ports(endpoints(one, NOTES)), ports(unary(one, NOTES)), serving(one, NOTES)) == ([10], [20], True)
    all_of_them = [joined(10, NEW, fault), joined(11, "127.0.0.1:21", fault)]
    assert (ports(endpoints(all_of_them, NOTES)), ports(unary(all_of_them, NOTES))) == ([10, 11], [20, 21])
    assert not serving(all_of_them, NOTES)


def test_the_openai_api_leads_to_the_edge_whatever_else_serves_http_beside_it() -> None:
    both = replace(joined(10, NEW), http_addresses={"testing": "127.0.0.1:30", "edge": "127.0.0.1:31"})
    other = replace(joined(11, NEW), http_addresses={"testing": "127.0.0.1:32"})
    assert ports(edges([both, other])) == [31]


class Refusing(XdsServer):
    """Cannot publish the first time."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0
        self.published = asyncio.Event()

    async def publish(self, snapshot: Snapshot) -> None:
        self.asked += 1
        if self.asked == 1:
            raise RuntimeError("nobody expected this")
        self.published.set()


async def test_a_change_that_could_not_be_published_is_published_without_waiting_for_another() -> None:
    changes = []

    class Registry(RegistryService):
        def watch(self, changed: Callable[[], None]) -> None:
            changes.append(changed)

    xds, server = Refusing(), Server({}, Drain(), max_message_bytes=1 << 20)
    here = Endpoint("127.0.0.1", 1)
    publisher = Publisher(
        Registry(Directory()),
        xds,
        server,
        listen=here,
        control_http=here,
        control_grpc=here,
        access_log="",
        limits=Limits(),
        cors_origins=(),
        tls=Tls(),
    )
    async with AsyncExitStack() as stack, asyncio.timeout(10):
        stack.push_async_callback(server.stop, 0.0)
        run_job(stack, "control", publisher.job)
        for changed in changes:
            changed()
        await xds.published.wait()
    assert xds.asked == 2
