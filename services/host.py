"""A serve process: builds its services, joins the mesh, and serves until a signal stops it."""

import asyncio
import gc
import os
import sys
import uuid
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import structlog
from soma.errors.v1 import reasons
from soma.identity.v1.auth_service_pb2_grpc import AuthServiceStub
from soma.mesh.v1 import registry_service_pb2

from services.declared import declared, needed, require_sent, used
from services.mesh.authentication.authenticator import CachedAuthenticator
from services.mesh.authentication.cache import PrincipalCache
from services.mesh.authentication.delegation import IdentityDelegations
from services.mesh.authentication.follower import RevocationFollower
from services.mesh.blobs.blobs import Blobs
from services.mesh.blobs.settings import BlobsSettings
from services.mesh.blobs.sweep import Sweep
from services.mesh.call import errors
from services.mesh.call.handlers import collect, service_names
from services.mesh.call.interceptors.drain import Drain
from services.mesh.call.process_name import CONTROL, neighbours, serve_name
from services.mesh.call.seal import Seal
from services.mesh.call.spans import Spans
from services.mesh.call.stack import pipeline
from services.mesh.call.token import Signer
from services.mesh.declaration import Declaration
from services.mesh.events import groups
from services.mesh.events.event import area_of
from services.mesh.events.service import event_service
from services.mesh.hosting import host
from services.mesh.limits.counter import SharedCounters
from services.mesh.limits.limiter import RateLimiter
from services.mesh.limits.settings import LimitSettings
from services.mesh.mesh import Mesh
from services.mesh.parts import PARTS, POSTGRES, REDIS, Opened
from services.mesh.process import logs
from services.mesh.process.admin import admin_app
from services.mesh.process.health import Health, HealthPublisher
from services.mesh.process.jobs import run_job, run_jobs
from services.mesh.process.keys import read_key, read_key_if_any
from services.mesh.process.registry.membership import Membership
from services.mesh.process.shutdown import Shutdown
from services.mesh.service import Service
from services.mesh.settings import Settings
from services.mesh.stores import disk, migrations
from services.mesh.stores.postgres import Database
from services.mesh.stores.row_security import Roles
from services.mesh.surfaces.application import BySurface
from services.mesh.transport.address import joined
from services.mesh.transport.channels import Channels
from services.mesh.transport.directory import Directory
from services.mesh.transport.http import HttpServer
from services.mesh.transport.router import open_channel
from services.mesh.transport.server import Server
from services.mesh.transport.unary.server import UnaryServer

if TYPE_CHECKING:
    from services.mesh.transport.tls.identity import Identity

log = structlog.get_logger("host")

# The number of new objects after which the garbage collector runs. With Python's 700 it would run several times in a
# request and find nothing: requests that succeed leave no cycles, and failed ones leave few.
_YOUNG_OBJECTS = 20_000
# The services that read the bytes of a request while it is answered.
_BLOB_READERS = frozenset({"orchestrator", "memory", "model"})


async def run_process(settings: Settings, names: list[str]) -> None:
    """Serve `names` until SIGTERM or SIGINT, then drain.

    Raises:
        InvalidArgument: a name is not a service, or a setting has a value it cannot have.
        FailedPrecondition: a key, the control process, or a part that a service needs is not known.
    """
    declarations = [declared(name) for name in names]
    logs.configure(settings.log_level, settings.log_format)
    shutdown = Shutdown(settings.grace_seconds, settings.leave_seconds)
    shutdown.listen()
    async with AsyncExitStack() as stack:
        process = await _Process.start(settings, declarations, stack)
        _spare_the_collector()
        _keep_no_list_of_generators()
        log.info(
            "serving", services=names, grpc=process.instance.grpc_address, http=dict(process.instance.http_addresses)
        )
        await shutdown.wait()
        await process.drain(shutdown)


def _spare_the_collector() -> None:
    """Have the garbage collector ignore all objects that exist now, and look at later ones seldom."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS, 20, 20)


def _keep_no_list_of_generators() -> None:
    """Have the event loop keep no list of running async generators, of which a chat request has more than ten.

    The loop needs the list only at its end, to close generators that are left. Here the calls and jobs end before the
    loop, and each of them closes its own generators.
    """
    sys.set_asyncgen_hooks(firstiter=None, finalizer=sys.get_asyncgen_hooks().finalizer)


def _identity(settings: Settings, names: list[str]) -> "Identity | None":
    if not settings.mutual_tls:
        return None
    # This is imported only here, because its dependencies take 10 MB.
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


async def _migrate(database: Database, declarations: Sequence[Declaration[Any]]) -> None:
    """Bring the mesh's own schema and those of the services up to date."""
    url, roles = database.owner_url, Roles(database.role, database.system_role)
    await migrations.check_roles(url, roles)
    await migrations.migrate_mesh(url, roles)
    for declaration in declarations:
        await declaration.migrate(url, roles)


class _Process:
    """The running parts of a process, in the order in which they have to stop."""

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
        """Build, listen, join: in this order, so that no call is sent to a process that does not answer yet."""
        names = [declaration.name for declaration in declarations]
        needs = needed(names)
        control, urls = _where(settings, names, needs)
        urls |= {part: url for part in used(names) if (url := settings.part_url(part)) is not None}
        own = [declaration.settings() for declaration in declarations]
        instance_id = str(uuid.uuid4())
        key = read_key(settings.data_dir / "internal.key").encode()
        signer = Signer(key, instance_id)
        spans = Spans("+".join(names), settings.otlp_endpoint)
        stack.callback(spans.close)
        directory, drain = Directory(), Drain()
        identity = _identity(settings, names)
        channels = Channels(names, directory, signer, settings.max_message_bytes, identity)
        stack.push_async_callback(channels.close)
        parts: dict[str, Opened[Any]] = {}
        for part, url in urls.items():
            disk.watch(part, url, settings.data_dir / part)
            parts[part] = Opened.of(PARTS[part], await PARTS[part].open(url, settings, stack))
        cache = PrincipalCache(asyncio.get_running_loop().time)
        identity_stub = AuthServiceStub(channels.connect("identity"))
        dev_key = read_key_if_any(settings.data_dir / "dev.key")
        authenticator = CachedAuthenticator(identity_stub, cache, dev_key)
        stack.push_async_callback(authenticator.close)
        shared = SharedCounters(parts[REDIS.name].client) if REDIS.name in parts else None
        limiter = RateLimiter(LimitSettings().tiers, shared)
        stack.push_async_callback(limiter.close)
        kept = BlobsSettings()
        store = kept.open(settings.data_dir)
        database: Database | None = parts[POSTGRES.name].client if POSTGRES.name in parts else None
        mesh = Mesh(
            settings=settings,
            data_dir=settings.data_dir,
            parts=parts,
            authenticator=authenticator,
            limiter=limiter,
            spans=spans,
            connect=channels.connect,
            blobs=Blobs(
                store,
                database.tenants if database is not None else None,
                shared=not set(names) >= _BLOB_READERS,
                held_bytes=kept.held_bytes,
            ),
            seal=partial(Seal, key),
            delegations=IdentityDelegations(identity_stub, authenticator, cache),
        )
        if POSTGRES.name in parts:
            await _migrate(mesh.postgres, declarations)
        wrap = pipeline(
            authenticator=authenticator,
            limiter=limiter,
            signer=signer,
            spans=spans,
            drain=drain,
            sample_ratio=settings.trace_sample_ratio,
            peers=neighbours if identity is not None else None,
        )
        # Services of the mesh itself, which every process serves that has the parts they need.
        common = Service()
        if {POSTGRES.name, REDIS.name} <= parts.keys():
            common = Service(servicers=(event_service(mesh.postgres, mesh.redis),))
        pairs = zip(declarations, own, strict=True)
        services = await host(pairs, mesh, channels, wrap, stack, common.servicers)
        for name, service in services.items():
            consumed = [consumer.type for consumer in service.events]
            require_sent(name, consumed)
            if POSTGRES.name in parts:
                await groups.retire(mesh.postgres.system, name, {area_of(type) for type in consumed})
        health = Health(
            {name: service.checks for name, service in services.items()},
            {name: service.wants for name, service in services.items()},
        )
        await health.check()
        server = Server(channels.handlers, drain, max_message_bytes=settings.max_message_bytes)
        # The server is stopped also when the start fails later: without that, the interpreter crashes at its end.
        stack.push_async_callback(server.stop, 0.0)
        grpc_port = await server.start(
            joined(settings.bind, settings.grpc_port), identity.server_credentials() if identity is not None else None
        )
        unary = UnaryServer(channels.handlers, max_message_bytes=settings.max_message_bytes, identity=identity)
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
            grpc_services=service_names(channels.handlers),
            grpc_address=joined(address, grpc_port),
            unary_address=joined(address, unary_port),
            # An older control process knows only the edge's address.
            http_address=http_addresses.get("edge", ""),
            http_addresses=http_addresses,
            surfaces=[surface.announced(name) for name, service in services.items() for surface in service.surfaces],
            admin_address=joined(address, admin_port),
            pid=os.getpid(),
            version=version("somamesh-server"),
        )
        connect = partial(open_channel, control, CONTROL, identity, settings.max_message_bytes)
        membership = Membership(connect, instance, health.faults, directory, signer, health.dependencies)
        hosted = {**services, migrations.MESH_SCHEMA: common}
        served = {name: service_names(collect(service.servicers)) for name, service in hosted.items()}
        publisher = HealthPublisher(health, server, served, membership)
        await publisher.publish()
        health.watch(publisher.changed)
        await membership.join()
        run_job(stack, "mesh", health.job)
        run_job(stack, "mesh", RevocationFollower(identity_stub, cache).job)
        if database is not None:
            run_jobs(stack, "mesh", Sweep(store, database.system).jobs, database.system)
        return cls(settings, health, membership, drain, server, unary, list(http.values()), services, instance)

    async def drain(self, shutdown: Shutdown) -> None:
        """Become NOT_SERVING, wait until the gateway and neighbours send no calls, let calls and work end, and stop."""
        log.info("draining", calls=self._drain.active, patience_seconds=shutdown.grace)
        self._health.drain()
        await self._membership.leave()
        await asyncio.sleep(self._settings.drain_seconds)
        # Endless calls end at once, however long others may take: their clients continue on another process.
        self._drain.end(endless=True)
        ending = asyncio.create_task(self._end_when_over(shutdown))
        for server in self._http:
            await server.stop(shutdown.grace)
        ended = await self._drain.finish(shutdown.grace)
        late, _ = await asyncio.gather(self._server.stop(0.0), self._unary.stop())
        working = [asyncio.ensure_future(finished()) for finished in self._finished]
        for work in working:
            await asyncio.wait((work, ending), return_when=asyncio.FIRST_COMPLETED)
        for task in (*working, ending):
            task.cancel()
        log.info("stopped", calls_ended=ended + late)

    async def _end_when_over(self, shutdown: Shutdown) -> None:
        """End the remaining calls when their time is over, also those of the edge's requests."""
        await shutdown.grace_over()
        self._drain.end()
