"""What the gateway serves at one moment, as plain dataclasses."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address

from soma.mesh.v1 import surface_pb2 as pb

LARGE_BYTES = 1024 * 1024
"""Smaller bodies are let in however many there are; the overload manager limits them."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address and a port. `host` is an IP address, because Envoy's endpoint discovery accepts no host names."""

    host: str
    port: int

    def __post_init__(self) -> None:
        ip_address(self.host)
        if not 0 < self.port < 65536:
            raise ValueError(f"port out of range: {self.port}")


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits beyond which the gateway refuses, instead of queueing."""

    max_request_bytes: int = 4 * 1024 * 1024
    """Largest request over REST or native gRPC whose message has no media; beyond it 413, or RESOURCE_EXHAUSTED."""
    max_message_bytes: int = 32 * 1024 * 1024
    """The same for a request whose message may have pictures, sounds or documents."""
    large_bytes: int = 128 * 1024 * 1024
    """Bodies larger than `LARGE_BYTES` in progress, all together; beyond it 503 with Retry-After."""
    max_response_bytes: int = 64 * 1024 * 1024
    """Largest unary reply that is transcoded; beyond it 500. It has room for the largest message in base64."""
    max_requests: int = 1024
    """Calls in flight per cluster (unary calls, streams, requests for surfaces); beyond it 503 with Retry-After."""
    max_pending: int = 1024
    """Calls per cluster that may wait for a connection; beyond it 503 with Retry-After."""
    unary_timeout_seconds: float = 60.0
    """Time limit of a unary call that has no deadline."""
    idle_timeout_seconds: float = 300.0
    """Silence after which a stream ends, or a connection without streams; long streams send heartbeats more often."""
    headers_timeout_seconds: float = 10.0
    """Time limit for the headers of a request to arrive, and for a TLS handshake; beyond it 408."""
    request_timeout_seconds: float = 60.0
    """Time limit for a whole request to arrive, unless its answer has begun; beyond it 408."""


@dataclass(frozen=True, slots=True)
class Tls:
    """Files with Envoy's secrets, which Envoy reads again when a file is replaced; empty for none."""

    identity: str = ""
    """Envoy's certificate inside the mesh. If it is set, every upstream must prove its name."""
    authorities: str = ""
    """The CA of the upstreams' certificates."""
    front: str = ""
    """The certificate of the public port."""


@dataclass(frozen=True)
class Snapshot:
    """The input from which Envoy's configuration is made.

    `services` has every gRPC service by its full proto name. A service without endpoints is UNAVAILABLE, and one that
    is missing is UNIMPLEMENTED.
    """

    services: Mapping[str, tuple[Endpoint, ...]]
    listen: Endpoint
    descriptor_set: bytes
    """Serialised `google.protobuf.FileDescriptorSet` with imports, `google/rpc/error_details.proto` among them."""
    unary: Mapping[str, tuple[Endpoint, ...]] = field(default_factory=dict)
    """The endpoints of a service that accept unary calls over HTTP/1.1."""
    over_http1: frozenset[str] = frozenset()
    """The services whose unary calls go to these endpoints; those of other services go over gRPC, as streams do."""
    surfaces: tuple[pb.Surface, ...] = ()
    """The surfaces of services. No two of them have a path in common."""
    http: Mapping[str, tuple[Endpoint, ...]] = field(default_factory=dict)
    """The HTTP servers of each service with surfaces. Without one, the paths of its surfaces are unavailable."""
    control_http: tuple[Endpoint, ...] = ()
    """The server of the gateway's own pages (`gateway/pages.py`)."""
    control_grpc: tuple[Endpoint, ...] = ()
    """The server of reflection and of `grpc.health.v1.Health` for every service."""
    access_log: str = ""
    """The file of the access log, which has JSON lines; empty for none."""
    cors_origins: tuple[str, ...] = ()
    """Origins whose pages may call from a browser; `*` for any."""
    limits: Limits = field(default_factory=Limits)
    tls: Tls = field(default_factory=Tls)

    def shape(self) -> tuple[object, ...]:
        """Everything except the endpoints: equal shapes give equal clusters, routes and listeners."""
        return (
            frozenset(self.services),
            self.over_http1,
            self.surfaces,
            self.listen,
            self.descriptor_set,
            self.access_log,
            self.cors_origins,
            self.limits,
            self.tls,
        )
