"""Envoy clusters, two per gRPC service and one per service with surfaces, and the endpoints in them."""

from collections.abc import Sequence
from datetime import timedelta
from enum import Enum

from envoy_data_plane.envoy.config.cluster.v3 import (
    CircuitBreakers,
    CircuitBreakersThresholds,
    Cluster,
    ClusterCommonLbConfig,
    ClusterDiscoveryType,
    ClusterEdsClusterConfig,
    ClusterLbPolicy,
)
from envoy_data_plane.envoy.config.core.v3 import (
    Address,
    AggregatedConfigSource,
    ApiVersion,
    ConfigSource,
    Http1ProtocolOptions,
    Http2ProtocolOptions,
    SocketAddress,
)
from envoy_data_plane.envoy.config.core.v3 import (
    HttpProtocolOptions as CommonProtocolOptions,
)
from envoy_data_plane.envoy.config.endpoint.v3 import (
    ClusterLoadAssignment,
    LbEndpoint,
    LocalityLbEndpoints,
)
from envoy_data_plane.envoy.config.endpoint.v3 import (
    Endpoint as EnvoyEndpoint,
)
from envoy_data_plane.envoy.extensions.upstreams.http.v3 import (
    HttpProtocolOptions,
    HttpProtocolOptionsExplicitHttpConfig,
)
from envoy_data_plane.envoy.type.v3 import Percent
from envoy_data_plane.google.protobuf import Any

from gateway.xds.snapshot import Endpoint, Limits, Tls
from gateway.xds.tls import upstream
from services.mesh.transport.limits import CONNECT_SECONDS

CONTROL_HTTP = "control-http"
CONTROL_GRPC = "control-grpc"

_PROTOCOL_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
# Envoy closes idle connections first. Servers close them after 75 s, and a request on a connection that the server is
# closing would be lost.
_IDLE_TIMEOUT = timedelta(seconds=15)
# The server of unary calls closes no idle connection, and the next burst of calls needs as many.
_UNARY_IDLE_TIMEOUT = timedelta(minutes=5)
_CONNECT_TIMEOUT = timedelta(seconds=2)

FROM_ADS = ConfigSource(ads=AggregatedConfigSource(), resource_api_version=ApiVersion.V3)


def unary(service: str) -> str:
    """The name of the cluster for a service's unary calls over HTTP/1.1."""
    return f"{service}/unary"


class Protocol(Enum):
    """The protocol between Envoy and the instances of a cluster."""

    GRPC = "gRPC, which is HTTP/2"
    UNARY = "unary calls of gRPC over HTTP/1.1, with the status in the trailer"
    HTTP = "HTTP/1.1"


def cluster(name: str, limits: Limits, *, protocol: Protocol, tls: Tls, hosts: Sequence[str]) -> Cluster:
    """A cluster whose endpoints come over ADS. With TLS, an endpoint's certificate must name one of `hosts`."""
    return Cluster(
        name=name,
        type=ClusterDiscoveryType.EDS,
        eds_cluster_config=ClusterEdsClusterConfig(eds_config=FROM_ADS),
        # Many TLS handshakes with one process at the same time are slow.
        connect_timeout=timedelta(seconds=CONNECT_SECONDS) if tls.identity else _CONNECT_TIMEOUT,
        lb_policy=ClusterLbPolicy.LEAST_REQUEST,
        # The registry decides which endpoints are healthy, so Envoy must never send calls to unhealthy ones.
        common_lb_config=ClusterCommonLbConfig(healthy_panic_threshold=Percent(value=0.0)),
        circuit_breakers=CircuitBreakers(
            thresholds=[
                CircuitBreakersThresholds(
                    # No call must wait for a connection: over HTTP/1.1 each call in flight needs one.
                    max_connections=limits.max_requests + limits.max_pending,
                    max_pending_requests=limits.max_pending,
                    max_requests=limits.max_requests,
                    # All calls to a killed instance may need a retry at the same time; Envoy's default is three.
                    max_retries=limits.max_requests,
                )
            ]
        ),
        transport_socket=upstream(tls, hosts, http2=protocol is Protocol.GRPC),
        typed_extension_protocol_options={_PROTOCOL_OPTIONS: Any.pack(_options(protocol))},
    )


def _options(protocol: Protocol) -> HttpProtocolOptions:
    if protocol is Protocol.GRPC:
        http2 = HttpProtocolOptionsExplicitHttpConfig(http2_protocol_options=Http2ProtocolOptions())
        return HttpProtocolOptions(explicit_http_config=http2)
    unary = protocol is Protocol.UNARY
    http1 = Http1ProtocolOptions(enable_trailers=unary)
    return HttpProtocolOptions(
        explicit_http_config=HttpProtocolOptionsExplicitHttpConfig(http_protocol_options=http1),
        common_http_protocol_options=CommonProtocolOptions(
            idle_timeout=_UNARY_IDLE_TIMEOUT if unary else _IDLE_TIMEOUT
        ),
    )


def load_assignment(cluster_name: str, endpoints: tuple[Endpoint, ...]) -> ClusterLoadAssignment:
    """The endpoints of a cluster; without any, Envoy answers "no healthy upstream"."""
    return ClusterLoadAssignment(
        cluster_name=cluster_name,
        endpoints=[LocalityLbEndpoints(lb_endpoints=[_lb_endpoint(endpoint) for endpoint in endpoints])]
        if endpoints
        else [],
    )


def address(endpoint: Endpoint) -> Address:
    """An endpoint as an address of Envoy's configuration."""
    return Address(socket_address=SocketAddress(address=endpoint.host, port_value=endpoint.port))


def _lb_endpoint(endpoint: Endpoint) -> LbEndpoint:
    return LbEndpoint(endpoint=EnvoyEndpoint(address=address(endpoint)))
