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
# Connections nobody uses. The server closes them after 75 s: whoever comes second may send on one that is gone.
_POOLED = timedelta(seconds=15)
# The server of unary calls closes none, and the next ones need as many.
_POOLED_FOR_UNARY = timedelta(minutes=5)
_CONNECT = timedelta(seconds=2)

FROM_ADS = ConfigSource(ads=AggregatedConfigSource(), resource_api_version=ApiVersion.V3)


def unary(service: str) -> str:
    """The cluster that takes a service's unary calls over HTTP/1.1."""
    return f"{service}/unary"


class Protocol(Enum):
    """What is spoken to the instances of a cluster."""

    GRPC = "gRPC, which is HTTP/2"
    UNARY = "unary calls of gRPC over HTTP/1.1, with the status in the trailer"
    HTTP = "HTTP/1.1"


def cluster(name: str, limits: Limits, *, protocol: Protocol, tls: Tls, hosts: Sequence[str]) -> Cluster:
    """A cluster whose endpoints come over ADS, are bounded by `limits` and, with TLS, prove to be one of `hosts`."""
    return Cluster(
        name=name,
        type=ClusterDiscoveryType.EDS,
        eds_cluster_config=ClusterEdsClusterConfig(eds_config=FROM_ADS),
        # Many at once take their time to prove themselves to one process.
        connect_timeout=timedelta(seconds=CONNECT_SECONDS) if tls.identity else _CONNECT,
        lb_policy=ClusterLbPolicy.LEAST_REQUEST,
        # Health is the registry's to know: Envoy must not send calls to endpoints it believes unhealthy.
        common_lb_config=ClusterCommonLbConfig(healthy_panic_threshold=Percent(value=0.0)),
        circuit_breakers=CircuitBreakers(
            thresholds=[
                CircuitBreakersThresholds(
                    # Never what a call waits for: over HTTP/1.1 each call in flight has a connection.
                    max_connections=limits.max_requests + limits.max_pending,
                    max_pending_requests=limits.max_pending,
                    max_requests=limits.max_requests,
                    # Envoy's own three are fewer than there are calls on their way to an instance that is killed.
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
        common_http_protocol_options=CommonProtocolOptions(idle_timeout=_POOLED_FOR_UNARY if unary else _POOLED),
    )


def load_assignment(cluster_name: str, endpoints: tuple[Endpoint, ...]) -> ClusterLoadAssignment:
    """Endpoints of a cluster; an empty one makes Envoy answer "no healthy upstream"."""
    return ClusterLoadAssignment(
        cluster_name=cluster_name,
        endpoints=[LocalityLbEndpoints(lb_endpoints=[_lb_endpoint(endpoint) for endpoint in endpoints])]
        if endpoints
        else [],
    )


def address(endpoint: Endpoint) -> Address:
    """An IP address and port as Envoy has them."""
    return Address(socket_address=SocketAddress(address=endpoint.host, port_value=endpoint.port))


def _lb_endpoint(endpoint: Endpoint) -> LbEndpoint:
    return LbEndpoint(endpoint=EnvoyEndpoint(address=address(endpoint)))
