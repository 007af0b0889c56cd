"""How a snapshot is compiled to resources."""

import dataclasses
from typing import Any

import pytest
from google.protobuf.message import DecodeError

from gateway.xds.resources import CLUSTER, ENDPOINTS, LISTENER, ROUTES, configuration, endpoints
from gateway.xds.snapshot import Endpoint, Limits, Snapshot
from tests.gateway.conftest import DESCRIPTORS, ECHO
from tests.gateway.surfaces import EDGE

SNAPSHOT = Snapshot(services={ECHO: ()}, listen=Endpoint("127.0.0.1", 8080), descriptor_set=DESCRIPTORS, surfaces=EDGE)
HERE = Endpoint("127.0.0.1", 1)


def test_equal_snapshots_have_equal_versions() -> None:
    assert configuration(SNAPSHOT).version == configuration(dataclasses.replace(SNAPSHOT)).version


def test_a_new_address_of_a_service_changes_its_endpoints_alone() -> None:
    moved = dataclasses.replace(SNAPSHOT, services={ECHO: (HERE,)}, http={"edge": (HERE,)})
    before, after = endpoints(SNAPSHOT).types[ENDPOINTS], endpoints(moved).types[ENDPOINTS]
    assert {name for name in before if before[name].version != after[name].version} == {ECHO, "edge"}
    assert moved.shape() == SNAPSHOT.shape()
    assert configuration(moved).version == configuration(SNAPSHOT).version


def versions(snapshot: Snapshot) -> set[tuple[str, str]]:
    """The type and the version of every resource of the configuration."""
    types = configuration(snapshot).types
    return {(kind, f"{each.name} {each.version}") for kind in types for each in types[kind].values()}


@pytest.mark.parametrize(
    ("change", "types"),
    [
        ({"limits": Limits(max_requests=1)}, {CLUSTER}),
        ({"limits": Limits(unary_timeout_seconds=1)}, {ROUTES}),
        ({"limits": Limits(idle_timeout_seconds=1)}, {LISTENER}),
        ({"listen": Endpoint("127.0.0.1", 8081)}, {LISTENER}),
        ({"services": {ECHO: (), "soma.memory.v1.MemoryService": ()}}, {CLUSTER, ROUTES}),
    ],
)
def test_a_change_makes_new_versions_only_of_the_resources_that_change(change: dict[str, Any], types: set[str]) -> None:
    changed = dataclasses.replace(SNAPSHOT, **change)
    assert changed.shape() != SNAPSHOT.shape()
    assert {kind for kind, _ in versions(SNAPSHOT) ^ versions(changed)} == types


def test_invalid_descriptors_are_refused_before_envoy_gets_them() -> None:
    with pytest.raises(DecodeError):
        configuration(dataclasses.replace(SNAPSHOT, descriptor_set=b"\xff\xff"))


@pytest.mark.parametrize(("host", "port"), [("localhost", 80), ("127.0.0.1", 0), ("127.0.0.1", 70000)])
def test_an_endpoint_that_envoy_would_refuse_is_an_error(host: str, port: int) -> None:
    with pytest.raises(ValueError, match=r"port out of range|does not appear to be"):
        Endpoint(host, port)
