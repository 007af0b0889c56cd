"""What the gateway is to serve at one moment, in plain Python."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address

from soma.mesh.v1 import surface_pb2 as pb


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address and port: `host` is an IP address, because Envoy's endpoint discovery takes no names."""

    host: str
    port: int

    def __post_init__(self) -> None:
        ip_address(self.host)
        if not 0 < self.port < 65536:
            raise ValueError(f"port out of range: {self.port}")


@dataclass(frozen=True, slots=True)
class Limits:
    """Where the gateway refuses instead of queueing."""

    max_request_bytes: int = 4 * 1024 * 1024
    """Largest REST request that is transcoded; beyond it 413."""
    max_message_bytes: int = 4 * 1024 * 1024
    """Largest message of a gRPC call; beyond it RESOURCE_EXHAUSTED."""
    max_response_bytes: int = 16 * 1024 * 1024
    """Largest unary reply that is transcoded; beyond it 500."""
    max_requests: int = 1024
    """In flight per cluster (unary calls of a service, streams, requests for surfaces); beyond: 503 and Retry-After."""
    max_pending: int = 1024
    """Calls that may wait per cluster while a connection is made; beyond it the same."""
    unary_timeout_seconds: float = 60.0
    """How long a unary call without a deadline of its own may take."""
    idle_timeout_seconds: float = 300.0
    """Silence after which a stream ends, or a connection without one; long streams send heartbeats more often."""
    headers_timeout_seconds: float = 10.0
    """How long the headers of a request may take to arrive, and a TLS handshake; beyond it 408."""
    request_timeout_seconds: float = 60.0
    """How long a whole request may, unless its answer has begun; beyond it 408."""


@dataclass(frozen=True, slots=True)
class Tls:
    """Files Envoy reads its secrets from, each an SDS resource it follows when the file is replaced; empty for none."""

    identity: str = ""
    """Its certificate inside the mesh: with it every upstream has to prove its name."""
    authorities: str = ""
    """The CA of the upstreams' certificates."""
    front: str = ""
    """The certificate of the public port."""


@dataclass(frozen=True)
class Snapshot:
    """Everything Envoy's configuration is made of.

    `services` names every gRPC service by its full proto name. One with no endpoints exists and is unavailable: its
    callers are told so. One that is not named does not exist: UNIMPLEMENTED.
    """

    services: Mapping[str, tuple[Endpoint, ...]]
    listen: Endpoint
    descriptor_set: bytes
    """Serialised `google.protobuf.FileDescriptorSet` with imports, `google/rpc/error_details.proto` among them."""
    unary: Mapping[str, tuple[Endpoint, ...]] = field(default_factory=dict)
    """Where those instances of a service are that take unary calls over HTTP/1.1."""
    over_http1: frozenset[str] = frozenset()
    """The services whose unary calls go there; those of all others go by gRPC, as streams do."""
    surfaces: tuple[pb.Surface, ...] = ()
    """What services speak over HTTP. No two of them have a path in common."""
    http: Mapping[str, tuple[Endpoint, ...]] = field(default_factory=dict)
    """Where the HTTP servers of a service with surfaces are. One with none has paths that are unavailable."""
    control_http: tuple[Endpoint, ...] = ()
    """Answers the gateway's own pages (`gateway/pages.py`)."""
    control_grpc: tuple[Endpoint, ...] = ()
    """Answers reflection and `grpc.health.v1.Health` for every service."""
    access_log: str = ""
    """File of the access log, JSON lines; empty for none."""
    cors_origins: tuple[str, ...] = ()
    """Origins whose pages browsers let call; `*` for any."""
    limits: Limits = field(default_factory=Limits)
    tls: Tls = field(default_factory=Tls)

    def shape(self) -> tuple[object, ...]:
        """Everything but where the endpoints are: equal shapes have equal clusters, routes and listeners."""
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
