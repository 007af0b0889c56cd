"""Tells Envoy and the health service, after each change of the registry, which instances serve which services."""

import asyncio
from collections.abc import Container
from time import monotonic

from soma.errors.v1 import reasons
from soma.mesh.v1 import registry_service_pb2 as pb

from gateway.contracts import TESTING, area, descriptor_set, public_services
from gateway.surfaces import Surfaces
from gateway.xds.server import XdsServer
from gateway.xds.snapshot import Endpoint, Limits, Snapshot, Tls
from services.mesh.call import errors
from services.mesh.process.jobs import Job
from services.mesh.process.registry.leases import Joined
from services.mesh.process.registry.service import RegistryService
from services.mesh.transport.address import split
from services.mesh.transport.server import Server

# A surface is forgotten when its service has been away for long; no other change would start a publication then.
_PUBLISH_EVERY_SECONDS = 600.0


class Publisher:
    """Publishes a snapshot after each change. Changes during a publication are published together in the next one."""

    def __init__(
        self,
        registry: RegistryService,
        xds: XdsServer,
        server: Server,
        surfaces: Surfaces,
        *,
        listen: Endpoint,
        control_http: Endpoint,
        control_grpc: Endpoint,
        access_log: str,
        limits: Limits,
        cors_origins: tuple[str, ...],
        tls: Tls,
    ) -> None:
        self._registry = registry
        self._xds = xds
        self._server = server
        self._surfaces = surfaces
        self._listen = listen
        self._control_http = control_http
        self._control_grpc = control_grpc
        self._access_log = access_log
        self._limits = limits
        self._cors_origins = cors_origins
        self._tls = tls
        self._changed = asyncio.Event()
        self._published: frozenset[str] = frozenset()
        self._reached: set[str] = set()
        registry.watch(self._changed.set)

    async def publish(self) -> None:
        """Publish the current state of the registry."""
        instances = self._registry.instances
        self._surfaces.update(instances, monotonic())
        self._registry.refuse(self._surfaces.refused)
        surfaces = self._surfaces.all
        services = {name: endpoints(instances, name) for name in offered(instances)}
        await self._xds.publish(
            Snapshot(
                services=services,
                unary={name: unary_endpoints(instances, name) for name in services},
                over_http1=frozenset(name for name in services if unary_over_http1(instances, name)),
                listen=self._listen,
                descriptor_set=descriptor_set(),
                surfaces=surfaces,
                http={
                    name: http_endpoints(instances, name, self._surfaces.instances(name))
                    for name in {surface.service for surface in surfaces}
                },
                control_http=(self._control_http,),
                control_grpc=(self._control_grpc,),
                access_log=self._access_log,
                limits=self._limits,
                cors_origins=self._cors_origins,
                tls=self._tls,
            )
        )
        await self._server.set_health({name: serving(instances, name) for name in services})
        self._published = frozenset(joined.instance_id for joined in instances)
        self._reached &= self._published

    def reached(self, joined: Joined) -> bool:
        """Whether every Envoy has accepted, at least once, the routes to the surfaces of an instance."""
        if not joined.surfaces or joined.instance_id in self._reached:
            return True
        if joined.instance_id in self._published and self._xds.state().accepted():
            self._reached.add(joined.instance_id)
            return True
        return False

    @property
    def job(self) -> Job:
        """Publishes after each change."""
        return Job("publisher", self.publish, wake=self._changed, every=_PUBLISH_EVERY_SECONDS)


def admit(instance: pb.Instance) -> None:
    """Refuse an instance that announces a host name instead of an IP address: Envoy cannot use it.

    Raises:
        InvalidArgument: ADDRESS_NOT_IP.
    """
    served = {"grpc_address": instance.grpc_address} if instance.grpc_services or instance.grpc_address else {}
    unary = {"unary_address": instance.unary_address} if instance.unary_address else {}
    http = {f"the HTTP address of {name}": address for name, address in instance.http_addresses.items()}
    if instance.http_address:
        http["http_address"] = instance.http_address
    for name, address in (served | unary | http).items():
        try:
            _endpoint(address)
        except ValueError as error:
            raise errors.InvalidArgument(
                f"{name} is {address!r}: the gateway needs an IP address and a port", reason=reasons.ADDRESS_NOT_IP
            ) from error


def offered(instances: list[Joined]) -> list[str]:
    """The proto services that clients may call: the public ones, and those for tests that an instance serves."""
    joined = {name for instance in instances for name in instance.grpc_services if name.startswith(TESTING)}
    return [*public_services(), *sorted(joined)]


def endpoints(instances: list[Joined], service: str) -> tuple[Endpoint, ...]:
    """The gRPC endpoints of a proto service: of its instances without a fault, or of all if each has a fault.

    An instance whose dependency is down stays in: it answers with the typed reason, which clients would not get from
    Envoy.
    """
    return tuple(_endpoint(joined.grpc_address) for joined in _usable(instances, service))


def unary_endpoints(instances: list[Joined], service: str) -> tuple[Endpoint, ...]:
    """The endpoints among these instances that accept unary calls over HTTP/1.1."""
    return tuple(_endpoint(joined.unary_address) for joined in _usable(instances, service) if joined.unary_address)


def http_endpoints(instances: list[Joined], service: str, served: Container[str]) -> tuple[Endpoint, ...]:
    """The HTTP servers of a service with surfaces; `served` has the ids of the instances whose surfaces are served."""
    return tuple(
        _endpoint(joined.http_addresses[service])
        for joined in instances
        if joined.instance_id in served and service in joined.http_addresses
    )


def unary_over_http1(instances: list[Joined], service: str) -> bool:
    """Whether unary calls go over HTTP/1.1: not while some instance, such as one of an older version, takes none."""
    return all(joined.unary_address for joined in instances if service in joined.grpc_services)


def serving(instances: list[Joined], service: str) -> bool:
    """Whether some instance serves a proto service without a fault."""
    return any(service in joined.grpc_services and area(service) not in dict(joined.faults) for joined in instances)


def _usable(instances: list[Joined], service: str) -> list[Joined]:
    having = [joined for joined in instances if service in joined.grpc_services]
    return [joined for joined in having if area(service) not in dict(joined.faults)] or having


def _endpoint(address: str) -> Endpoint:
    return Endpoint(*split(address))
