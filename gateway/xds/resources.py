"""A snapshot compiled to what goes over the wire: each resource packed once, with its content as its version."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from betterproto2 import Message
from envoy_data_plane.envoy.service.discovery.v3 import Resource
from envoy_data_plane.google.protobuf import Any

from gateway.xds.clusters import CONTROL_GRPC, CONTROL_HTTP, EDGE, cluster, load_assignment
from gateway.xds.contracts import Contracts
from gateway.xds.listener import listener
from gateway.xds.routes import route_configuration
from gateway.xds.snapshot import Snapshot

_PREFIX = "type.googleapis.com/envoy.config."
CLUSTER = f"{_PREFIX}cluster.v3.Cluster"
ENDPOINTS = f"{_PREFIX}endpoint.v3.ClusterLoadAssignment"
ROUTES = f"{_PREFIX}route.v3.RouteConfiguration"
LISTENER = f"{_PREFIX}listener.v3.Listener"

ORDER = (CLUSTER, ENDPOINTS, LISTENER, ROUTES)
"""What others refer to goes first; removals go the other way."""


@dataclass(frozen=True)
class Group:
    """Resources that stand or fall together. Equal versions mean equal content."""

    types: Mapping[str, Mapping[str, Resource]]
    version: str = field(init=False)

    def __post_init__(self) -> None:
        digest = hashlib.sha256()
        for type_url in sorted(self.types):
            for name in sorted(self.types[type_url]):
                digest.update(f"{type_url} {name} {self.types[type_url][name].version}\n".encode())
        object.__setattr__(self, "version", digest.hexdigest()[:12])


def configuration(snapshot: Snapshot) -> Group:
    """Clusters, routes and the listener.

    Raises:
        google.protobuf.message.DecodeError: the descriptor set is none.
    """
    contracts = Contracts.parse(snapshot.descriptor_set)
    clusters = [cluster(name, snapshot.limits, http2=True) for name in (*snapshot.services, CONTROL_GRPC)]
    clusters += [cluster(name, snapshot.limits, http2=False) for name in (EDGE, CONTROL_HTTP)]
    routes = route_configuration(snapshot, contracts)
    front = listener(snapshot, contracts)
    return Group(
        {
            CLUSTER: _packed((each.name, each) for each in clusters),
            ROUTES: _packed([(routes.name, routes)]),
            LISTENER: _packed([(front.name, front)]),
        }
    )


def endpoints(snapshot: Snapshot) -> Group:
    """Where every cluster's instances are, clusters without any included."""
    places = {
        **snapshot.services,
        EDGE: snapshot.edge,
        CONTROL_HTTP: snapshot.control_http,
        CONTROL_GRPC: snapshot.control_grpc,
    }
    return Group({ENDPOINTS: _packed((name, load_assignment(name, where)) for name, where in places.items())})


def _packed(messages: Iterable[tuple[str, Message]]) -> dict[str, Resource]:
    return {name: _resource(name, message) for name, message in messages}


def _resource(name: str, message: Message) -> Resource:
    packed = Any.pack(message)
    return Resource(name=name, version=hashlib.sha256(packed.value).hexdigest()[:12], resource=packed)
