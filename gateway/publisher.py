"""Carries the registry's view to Envoy and to the health service: who serves what, as soon as it changes."""

import asyncio

import structlog

from gateway.contracts import TESTING, area, descriptor_set, public_services
from gateway.xds.server import XdsServer
from gateway.xds.snapshot import Endpoint, Limits, Snapshot, Tls
from services.mesh.process.jobs import Job
from services.mesh.process.registry.leases import Joined
from services.mesh.process.registry.service import RegistryService
from services.mesh.transport.address import split
from services.mesh.transport.server import Server

log = structlog.get_logger("gateway")

# The service whose HTTP server the routes of the OpenAI-compatible API lead to.
EDGE = "edge"


class Publisher:
    """Publishes a snapshot after each change; changes that come while one is being published share the next."""

    def __init__(
        self,
        registry: RegistryService,
        xds: XdsServer,
        server: Server,
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
        self._listen = listen
        self._control_http = control_http
        self._control_grpc = control_grpc
        self._access_log = access_log
        self._limits = limits
        self._cors_origins = cors_origins
        self._tls = tls
        self._changed = asyncio.Event()
        registry.watch(self._changed.set)

    async def publish(self) -> None:
        """Publish what is known now."""
        instances = self._registry.instances
        services = {name: endpoints(instances, name) for name in offered(instances)}
        await self._xds.publish(
            Snapshot(
                services=services,
                unary={name: unary(instances, name) for name in services},
                over_http1=frozenset(name for name in services if over_http1(instances, name)),
                listen=self._listen,
                descriptor_set=descriptor_set(),
                edge=edges(instances),
                control_http=(self._control_http,),
                control_grpc=(self._control_grpc,),
                access_log=self._access_log,
                limits=self._limits,
                cors_origins=self._cors_origins,
                tls=self._tls,
            )
        )
        await self._server.set_health({name: serving(instances, name) for name in services})

    @property
    def job(self) -> Job:
        """Publishes after each change."""
        return Job("publisher", self._publish_change, wake=self._changed)

    async def _publish_change(self) -> None:
        try:
            await self.publish()
        except ValueError as error:
            # An address Envoy cannot take, from an instance that announced a host name: only its next change helps.
            log.error("snapshot not published, the one before stays", error=str(error))


def offered(instances: list[Joined]) -> list[str]:
    """The proto services clients may call: the public ones, and those for tests while an instance serves them."""
    joined = {name for instance in instances for name in instance.grpc_services if name.startswith(TESTING)}
    return [*public_services(), *sorted(joined)]


def endpoints(instances: list[Joined], service: str) -> tuple[Endpoint, ...]:
    """Where Envoy sends the calls of a proto service: to instances without a fault, or to all when each has one.

    An instance whose dependency is down answers with the typed reason; taking it out would hide that.
    """
    return tuple(_endpoint(joined.grpc_address) for joined in _usable(instances, service))


def unary(instances: list[Joined], service: str) -> tuple[Endpoint, ...]:
    """Where it may send the unary ones of them over HTTP/1.1: to those of the same that take them."""
    return tuple(_endpoint(joined.unary_address) for joined in _usable(instances, service) if joined.unary_address)


def edges(instances: list[Joined]) -> tuple[Endpoint, ...]:
    """Where Envoy sends the requests of the OpenAI-compatible API."""
    return tuple(_endpoint(joined.http_addresses[EDGE]) for joined in instances if EDGE in joined.http_addresses)


def over_http1(instances: list[Joined], service: str) -> bool:
    """Whether it does: not while some instance, as one of an older version, would get none of them."""
    return all(joined.unary_address for joined in instances if service in joined.grpc_services)


def serving(instances: list[Joined], service: str) -> bool:
    """Whether some instance serves a proto service without a fault."""
    return any(service in joined.grpc_services and area(service) not in dict(joined.faults) for joined in instances)


def _usable(instances: list[Joined], service: str) -> list[Joined]:
    having = [joined for joined in instances if service in joined.grpc_services]
    return [joined for joined in having if area(service) not in dict(joined.faults)] or having


def _endpoint(address: str) -> Endpoint:
    return Endpoint(*split(address))
