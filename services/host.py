"""One serve process: builds the services it is asked for, joins the mesh, serves until told to stop."""

import asyncio
import gc
import os
import uuid
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import structlog
from soma.errors.v1 import reasons
from soma.mesh.v1 import registry_service_pb2

from services.declared import declared, needed, require_sent
from services.mesh.call import errors
from services.mesh.call.authenticator import DevAuthenticator
from services.mesh.call.handlers import collect, service_names
from services.mesh.call.interceptors.drain import Drain
from services.mesh.call.spans import Spans
from services.mesh.call.stack import pipeline
from services.mesh.call.token import Signer
from services.mesh.declaration import Declaration
from services.mesh.events import groups
from services.mesh.events.event import area_of
from services.mesh.events.service import event_service
from services.mesh.mesh import Connections, Mesh
from services.mesh.parts import PARTS, POSTGRES, REDIS, Opened
from services.mesh.process import logs
from services.mesh.process.admin import admin_app
from services.mesh.process.departure import Departure
from services.mesh.process.health import Health
from services.mesh.process.hosting import host
from services.mesh.process.jobs import run_job
from services.mesh.process.keys import read_key
from services.mesh.process.registry.directory import Directory
from services.mesh.process.registry.membership import Membership
from services.mesh.service import Service
from services.mesh.settings import Settings
from services.mesh.stores import disk, lease, migrations
from services.mesh.surfaces.application import BySurface
from services.mesh.transport.address import joined
from services.mesh.transport.http import HttpServer
from services.mesh.transport.routing import open_channel
from services.mesh.transport.server import Server
from services.mesh.transport.tls.names import CONTROL, neighbours, serve_name
from services.mesh.transport.unary.server import UnaryServer

if TYPE_CHECKING:
    from services.mesh.transport.tls.identity import Identity

log = structlog.get_logger("host")

# By how many objects the living may grow before the garbage collector looks at the young ones. After 700, as Python has
# it, it would look several times in a request and find nothing: served requests leave no cycles, and failed ones few.
_YOUNG_OBJECTS = 20_000


async def run_process(settings: Settings, names: list[str]) -> None:
    """Serve `names` until SIGTERM or SIGINT, then drain.

    Raises:
        InvalidArgument: a name is not a service, or a setting has a value it cannot have.
        FailedPrecondition: the process is not told its keys, its control process, or a part that a service needs.
    """
    declarations = [declared(name) for name in names]
    logs.configure(settings.log_level, settings.log_format)
    departure = Departure(settings.grace_seconds, settings.leave_seconds)
    departure.listen()
    async with AsyncExitStack() as stack:
        process = await _Process.start(settings, declarations, stack)
        _spare_the_collector()
        log.info(
            "serving", services=names, grpc=process.instance.grpc_address, http=dict(process.instance.http_addresses)
        )
        await departure.wait()
        await process.drain(departure)


def _spare_the_collector() -> None:
    """Never again look at what was loaded and built to start with, and seldom at the rest."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS, 20, 20)


def _identity(settings: Settings, names: list[str]) -> "Identity | None":
    if not settings.mutual_tls:
        return None
    # Only where it is needed: what it imports takes 10 MB.
    from services.mesh.transport.tls.identity import Identity, folder_of

    return Identity(folder_of(settings.data_dir), settings.name or serve_name(names))


def _where(settings: Settings, services: Sequence[str], needs: Sequence[str]) -> tuple[str, dict[str, str]]:
    """Where the control process is, and each part that the services need.

    Raises:
        FailedPrecondition: a setting that says so is missing.
    """
    urls = {part: settings.part_url(part) for part in needs}
    missing = [f"{part}_url" for part, url in urls.items() if url is None]
    missing += ["control"] if settings.control is None else []
    if missing:
        variables = ", ".join(f"SOMA_{name.upper()}" for name in missing)
        raise errors.FailedPrecondition(
            f"a process that serves {' and '.join(services)} needs {' and '.join(missing)} ({variables}); a stack "
            "gives them to the processes it starts, and to others on its data directory where it runs these parts: "
            "soma up --parts names what none of its own services needs",
            reason=reasons.SETTINGS_MISSING,
        )
    return str(settings.control), {part: str(url) for part, url in urls.items()}


async def _migrate(url: str, declarations: Sequence[Declaration[Any]]) -> None:
    """Bring the mesh's own schema and those of the services up to date."""
    await migrations.migrate(url, lease.SCHEMA, lease.MIGRATIONS)
    for declaration in declarations:
        if declaration.migrations is not None:
            await migrations.migrate(url, declaration.name, declaration.migrations, outbox=bool(declaration.sends))


class _Process:
    """What runs, in the order it has to stop."""

    def __init__(
        self,
        settings: Settings,
        health: Health,
        membership: Membership,
        drain: Drain,
        server: Server,
        unary: UnaryServer,
        http: list[HttpServer],
        services: Mapping[str, Service],
        instance: registry_service_pb2.Instance,
    ) -> None:
        self._settings = settings
        self._health = health
        self._membership = membership
        self._drain = drain
        self._server = server
        self._unary = unary
        self._http = http
        self._finished = [service.finished for service in services.values() if service.finished is not None]
        self.instance = instance

    @classmethod
    async def start(
        cls, settings: Settings, declarations: Sequence[Declaration[Any]], stack: AsyncExitStack
    ) -> "_Process":
        """Build, listen, join: in that order, so that nobody is sent where nothing answers yet."""
        names = [declaration.name for declaration in declarations]
        needs = needed(names)
        control, urls = _where(settings, names, needs)
        own = [declaration.settings() for declaration in declarations]
        instance_id = str(uuid.uuid4())
        signer = Signer(read_key(settings.data_dir / "internal.key").encode(), instance_id)
        authenticator = DevAuthenticator(read_key(settings.data_dir / "dev.key"))
        spans = Spans("+".join(names), settings.otlp_endpoint)
        stack.callback(spans.close)
        directory, drain = Directory(), Drain()
        identity = _identity(settings, names)
        connections = Connections(names, directory, signer, settings, identity)
        stack.push_async_callback(connections.close)
        parts: dict[str, Opened[Any]] = {}
        for part, url in urls.items():
            disk.watch(part, url, settings.data_dir / part)
            parts[part] = Opened.of(PARTS[part], await PARTS[part].open(url, settings, stack))
        mesh = Mesh(
            settings=settings,
            data_dir=settings.data_dir,
            parts=parts,
            authenticator=authenticator,
            spans=spans,
            connect=connections.connect,
        )
        if POSTGRES.name in parts:
            await _migrate(urls[POSTGRES.name], declarations)
        wrap = pipeline(
            authenticator=authenticator,
            signer=signer,
            spans=spans,
            drain=drain,
            sample_ratio=settings.trace_sample_ratio,
            peers=neighbours if identity is not None else None,
        )
        # Of the mesh itself: found whatever runs apart, in every process that has what it needs.
        common = Service()
        if {POSTGRES.name, REDIS.name} <= parts.keys():
            common = Service(servicers=(event_service(mesh.postgres, mesh.redis),))
        pairs = zip(declarations, own, strict=True)
        services = await host(pairs, mesh, connections, wrap, stack, common.servicers)
        for name, service in services.items():
            consumed = [consumer.type for consumer in service.events]
            require_sent(name, consumed)
            if POSTGRES.name in parts:
                await groups.retire(mesh.postgres, name, {area_of(type) for type in consumed})
        health = Health(services)
        await health.check()
        server = Server(connections.handlers, drain, max_message_bytes=settings.max_message_bytes)
        # Also when the start fails further on: a server nobody stopped takes the interpreter down with it.
        stack.push_async_callback(server.stop, 0.0)
        grpc_port = await server.start(
            joined(settings.bind, settings.grpc_port), identity.server_credentials() if identity is not None else None
        )
        unary = UnaryServer(connections.handlers, max_message_bytes=settings.max_message_bytes, identity=identity)
        stack.push_async_callback(unary.stop)
        unary_port = await unary.start(settings.bind, settings.unary_port)
        http = {
            name: HttpServer(BySurface(service.surfaces), websockets=True, identity=identity)
            for name, service in services.items()
            if service.surfaces
        }
        if len(http) > 1 and settings.http_port:
            raise errors.FailedPrecondition(
                f"http_port (SOMA_HTTP_PORT) is {settings.http_port} for {' and '.join(http)}, and each has an HTTP "
                "server of its own; set it to 0, or run them in processes of their own",
                reason=reasons.HTTP_PORT_SHARED,
            )
        http_ports = {name: await each.start(settings.bind, settings.http_port) for name, each in http.items()}
        admin = HttpServer(admin_app(health, version("somamesh-server")))
        admin_port = await admin.start(settings.bind, settings.admin_port)
        stack.push_async_callback(admin.stop)
        address = settings.advertise or settings.bind
        http_addresses = {name: joined(address, port) for name, port in http_ports.items()}
        instance = registry_service_pb2.Instance(
            instance_id=instance_id,
            services=names,
            grpc_services=service_names(connections.handlers),
            grpc_address=joined(address, grpc_port),
            unary_address=joined(address, unary_port),
            # An older control process knows the edge's alone.
            http_address=http_addresses.get("edge", ""),
            http_addresses=http_addresses,
            surfaces=[surface.announced(name) for name, service in services.items() for surface in service.surfaces],
            admin_address=joined(address, admin_port),
            pid=os.getpid(),
            version=version("somamesh-server"),
        )
        connect = partial(open_channel, control, CONTROL, identity, settings.max_message_bytes)
        membership = Membership(connect, instance, health.faults, directory, signer, health.dependencies)
        publisher = _HealthPublisher(health, server, {**services, lease.SCHEMA: common}, membership)
        await publisher.publish()
        health.watch(publisher.changed)
        await membership.join()
        run_job(stack, "mesh", health.job)
        return cls(settings, health, membership, drain, server, unary, list(http.values()), services, instance)

    async def drain(self, departure: Departure) -> None:
        """NOT_SERVING, wait for the gateway and neighbours to look away, let calls and other work end, stop."""
        log.info("draining", calls=self._drain.active, patience_seconds=departure.patience)
        self._health.drain()
        await self._membership.leave()
        await asyncio.sleep(self._settings.drain_seconds)
        # However patient: their clients go on elsewhere.
        self._drain.end(endless=True)
        ending = asyncio.create_task(self._end_when_over(departure))
        for server in self._http:
            await server.stop(departure.patience)
        ended = await self._drain.finish(departure.patience)
        late, _ = await asyncio.gather(self._server.stop(0.0), self._unary.stop())
        working = [asyncio.ensure_future(finished()) for finished in self._finished]
        for work in working:
            await asyncio.wait((work, ending), return_when=asyncio.FIRST_COMPLETED)
        for task in (*working, ending):
            task.cancel()
        log.info("stopped", calls_ended=ended + late)

    async def _end_when_over(self, departure: Departure) -> None:
        """End what is left when patience is over, calls of the edge's requests too."""
        await departure.patience_is_over()
        self._drain.end()


class _HealthPublisher:
    """Carries changes of health to the gRPC health service and the registry."""

    def __init__(self, health: Health, server: Server, services: Mapping[str, Service], membership: Membership) -> None:
        self._health = health
        self._server = server
        self._membership = membership
        self._names = {name: service_names(collect(service.servicers)) for name, service in services.items()}
        self._publishing: set[asyncio.Task[None]] = set()

    async def publish(self) -> None:
        faults = self._health.faults()
        await self._server.set_health(
            {full: name not in faults for name, fulls in self._names.items() for full in fulls}
        )

    def changed(self) -> None:
        self._membership.health_changed()
        task = asyncio.create_task(self.publish())
        self._publishing.add(task)
        task.add_done_callback(self._publishing.discard)
