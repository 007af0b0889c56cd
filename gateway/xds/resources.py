"""Compiles a snapshot to xDS resources; the version of a resource is a hash of its content."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from betterproto2 import Message
from envoy_data_plane.envoy.service.discovery.v3 import Resource
from envoy_data_plane.google.protobuf import Any

from gateway.contracts import MESH, area
from gateway.xds.clusters import CONTROL_GRPC, CONTROL_HTTP, Protocol, cluster, load_assignment, unary
from gateway.xds.listener import listener
from gateway.xds.methods import streaming_methods
from gateway.xds.routes import NAME, route_configuration
from gateway.xds.snapshot import Endpoint, Limits, Snapshot, Tls
from services.declared import SERVICES
from services.mesh.call.process_name import CONTROL, host_of

_PREFIX = "type.googleapis.com/envoy.config."
CLUSTER = f"{_PREFIX}cluster.v3.Cluster"
ENDPOINTS = f"{_PREFIX}endpoint.v3.ClusterLoadAssignment"
ROUTES = f"{_PREFIX}route.v3.RouteConfiguration"
LISTENER = f"{_PREFIX}listener.v3.Listener"

ORDER = (CLUSTER, ENDPOINTS, LISTENER, ROUTES)
"""The order of sending: a resource comes before those that refer to it. Removals have the reverse order."""


@dataclass(frozen=True)
class Group:
    """Resources that are accepted or refused together. Equal versions mean equal content."""

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
        google.protobuf.message.DecodeError: the bytes are no descriptor set.
    """
    streaming = streaming_methods(snapshot.descriptor_set)
    limits, tls = snapshot.limits, snapshot.tls
    clusters = {name: _cluster(name, limits, tls, _hosts(name), protocol=Protocol.GRPC) for name in snapshot.services}
    # Also without calls to them: a route to a cluster that is new to Envoy would fail at first.
    for name in snapshot.services:
        clusters[unary(name)] = _cluster(unary(name), limits, tls, _hosts(name), protocol=Protocol.UNARY)
    clusters[CONTROL_GRPC] = _cluster(CONTROL_GRPC, limits, tls, (host_of(CONTROL),), protocol=Protocol.GRPC)
    clusters[CONTROL_HTTP] = _cluster(CONTROL_HTTP, limits, tls, (host_of(CONTROL),), protocol=Protocol.HTTP)
    for name in _with_surfaces(snapshot):
        clusters[name] = _cluster(name, limits, tls, (host_of(name),), protocol=Protocol.HTTP)
    return Group(
        {
            CLUSTER: clusters,
            ROUTES: {NAME: _resource(NAME, route_configuration(snapshot, streaming))},
            LISTENER: {NAME: _resource(NAME, listener(snapshot, streaming))},
        }
    )


def endpoints(snapshot: Snapshot) -> Group:
    """The endpoints of every cluster, including clusters without endpoints."""
    by_cluster = {
        **snapshot.services,
        **{unary(name): snapshot.unary.get(name, ()) for name in snapshot.services},
        **{name: snapshot.http.get(name, ()) for name in _with_surfaces(snapshot)},
        CONTROL_HTTP: snapshot.control_http,
        CONTROL_GRPC: snapshot.control_grpc,
    }
    return Group({ENDPOINTS: {name: _endpoints(name, where) for name, where in by_cluster.items()}})


def _with_surfaces(snapshot: Snapshot) -> set[str]:
    """The services that have surfaces."""
    return {surface.service for surface in snapshot.surfaces}


# Packing a cluster takes about a millisecond, and few clusters change from one snapshot to the next.
@lru_cache(maxsize=1024)
def _cluster(name: str, limits: Limits, tls: Tls, hosts: tuple[str, ...], *, protocol: Protocol) -> Resource:
    return _resource(name, cluster(name, limits, protocol=protocol, tls=tls, hosts=hosts))


def _hosts(service: str) -> tuple[str, ...]:
    """The names in the certificates of processes with a proto service; every process serves those of the mesh."""
    areas = SERVICES if area(service) == MESH else (area(service),)
    return tuple(map(host_of, areas))


@lru_cache(maxsize=1024)
def _endpoints(cluster_name: str, where: tuple[Endpoint, ...]) -> Resource:
    return _resource(cluster_name, load_assignment(cluster_name, where))


def _resource(name: str, message: Message) -> Resource:
    packed = Any.pack(message)
    return Resource(name=name, version=hashlib.sha256(packed.value).hexdigest()[:12], resource=packed)
