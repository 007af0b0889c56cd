"""The rule of leases: an instance has joined from its first message until its stream ends or is silent too long."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from soma.mesh.v1 import surface_pb2 as pb

from services.mesh.transport.directory import Endpoint

LEASE_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Joined:
    """One instance: its addresses, its services, and which of these cannot work (with the reason).

    `http_addresses` has the HTTP server of each service that has one.
    """

    instance_id: str
    services: tuple[str, ...]
    grpc_services: tuple[str, ...]
    grpc_address: str
    unary_address: str
    http_addresses: Mapping[str, str]
    admin_address: str
    pid: int
    version: str
    heard: float
    faults: tuple[tuple[str, str], ...] = ()
    dependencies: tuple[tuple[str, str, str], ...] = ()
    """Service, dependency, and what is wrong with the dependency; "" while nothing is."""
    surfaces: tuple[pb.Surface, ...] = ()
    """The HTTP surfaces of its services, as it announced them."""

    def expired(self, now: float) -> bool:
        """Whether the instance was silent for longer than a lease."""
        return now - self.heard > LEASE_SECONDS

    def heard_at(self, now: float) -> "Joined":
        """The same instance, renewed at `now`."""
        return replace(self, heard=now)

    def with_health(self, faults: Iterable[tuple[str, str]], dependencies: Iterable[tuple[str, str, str]]) -> "Joined":
        """The same instance with another state of its services."""
        return replace(self, faults=tuple(sorted(faults)), dependencies=tuple(sorted(dependencies)))

    def endpoints(self) -> list[Endpoint]:
        """The endpoints of its services."""
        faults = dict(self.faults)
        return [
            Endpoint(service, self.grpc_address, self.instance_id, service not in faults, faults.get(service, ""))
            for service in self.services
        ]
