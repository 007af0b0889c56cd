"""Where the publisher has calls sent."""

from gateway.publisher import endpoints, over_http1, serving, unary
from gateway.xds.snapshot import Endpoint
from services.mesh.registry.leases import Joined

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
        http_address="",
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
