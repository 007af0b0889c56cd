"""The gateway's control plane: the registry, xDS, reflection and health of all services, and the gateway's pages.

It runs in the process of `soma up`; Envoy and every serve process connect to it.
"""

import asyncio
from collections.abc import Iterable
from contextlib import AsyncExitStack
from importlib.metadata import version

import aiohttp
from soma.identity.v1.auth_service_pb2_grpc import AuthServiceStub
from soma.mesh.v1.registry_service_pb2_grpc import add_RegistryServiceServicer_to_server

from gateway.contracts import pool
from gateway.envoy.bootstrap import Capacity, write_bootstrap
from gateway.envoy.secrets import Secrets
from gateway.pages import Pages
from gateway.publisher import Publisher, admit, offered
from gateway.settings import LARGE_SHARE, GatewaySettings
from gateway.surfaces import load_surfaces
from gateway.xds.server import XdsServer
from gateway.xds.snapshot import Endpoint, Limits
from services.mesh.authentication.authenticator import CachedAuthenticator
from services.mesh.authentication.cache import PrincipalCache
from services.mesh.authentication.follower import RevocationFollower
from services.mesh.call.authenticator import Unlimited
from services.mesh.call.handlers import collect
from services.mesh.call.interceptors.drain import Drain
from services.mesh.call.process_name import CONTROL, processes
from services.mesh.call.spans import Spans
from services.mesh.call.stack import pipeline
from services.mesh.call.token import Signer
from services.mesh.process.jobs import run_job
from services.mesh.process.keys import read_key, read_key_if_any
from services.mesh.process.registry.service import RegistryService
from services.mesh.settings import Settings
from services.mesh.transport.address import joined
from services.mesh.transport.channels import Channels
from services.mesh.transport.directory import Directory
from services.mesh.transport.http import HttpServer
from services.mesh.transport.server import Server
from services.mesh.transport.tls.identity import Identity, folder_of


class ControlPlane:
    """A running control plane."""

    def __init__(
        self, registry_address: str, registry: RegistryService, publisher: Publisher, stack: AsyncExitStack
    ) -> None:
        self._address = registry_address
        self._registry = registry
        self._publisher = publisher
        self._stack = stack

    @property
    def registry(self) -> str:
        """`host:port` of the registry, where processes join."""
        return self._address

    def admin(self, pid: int) -> str | None:
        """`host:port` of the admin port of the process `pid`; None until it has joined and Envoy has its routes."""
        ready = (joined for joined in self._registry.instances if joined.pid == pid and self._publisher.reached(joined))
        return next((joined.admin_address for joined in ready), None)

    async def close(self) -> None:
        """Stop serving; Envoy keeps the configuration that it has."""
        await self._stack.aclose()


async def start_gateway(settings: Settings, services: Iterable[str]) -> ControlPlane:
    """Start the control plane and write Envoy's bootstrap into `<data_dir>/envoy/bootstrap.json`.

    `/ready` says that the stack is ready once it has all of `services`.

    Raises:
        FailedPrecondition: a key of the data directory is missing or exposed.
    """
    async with AsyncExitStack() as stack:
        own = GatewaySettings()
        signer = Signer(read_key(settings.data_dir / "internal.key").encode(), "control")
        spans = Spans("control", settings.otlp_endpoint)
        stack.callback(spans.close)
        identity = Identity(folder_of(settings.data_dir), CONTROL) if settings.mutual_tls else None
        directory = Directory()
        registry = RegistryService(directory, admit)
        channels = Channels((), directory, signer, settings.max_message_bytes, identity)
        stack.push_async_callback(channels.close)
        cache = PrincipalCache(asyncio.get_running_loop().time)
        identities = AuthServiceStub(channels.connect("identity"))
        authenticator = CachedAuthenticator(identities, cache, read_key_if_any(settings.data_dir / "dev.key"))
        stack.push_async_callback(authenticator.close)
        run_job(stack, "control", RevocationFollower(identities, cache).job)
        drain = Drain()
        wrap = pipeline(
            authenticator=authenticator,
            limiter=Unlimited(),
            signer=signer,
            spans=spans,
            drain=drain,
            sample_ratio=settings.trace_sample_ratio,
            peers=processes if identity is not None else None,
        )
        server = Server(
            wrap.wrap_all(collect([(add_RegistryServiceServicer_to_server, registry)])),
            drain,
            max_message_bytes=settings.max_message_bytes,
            names=lambda: offered(registry.instances),
            pool=pool(),
        )
        grpc_port = await server.start(
            joined(settings.bind, settings.control_port),
            identity.server_credentials() if identity is not None else None,
        )
        stack.push_async_callback(server.stop, 0.0)
        client = await stack.enter_async_context(aiohttp.ClientSession())
        site = Pages(registry, services, authenticator, client, version("somamesh-server"))
        pages = HttpServer(site.app(), identity=identity)
        http_port = await pages.start(settings.bind)
        stack.push_async_callback(pages.stop)
        secrets = Secrets(settings)
        run_job(stack, "control", secrets.job)
        xds = XdsServer()
        xds_port = await xds.start()
        stack.push_async_callback(xds.stop)
        publisher = Publisher(
            registry,
            xds,
            server,
            load_surfaces(settings.data_dir / "envoy" / "surfaces.json"),
            listen=Endpoint(settings.host, settings.port),
            control_http=Endpoint(settings.bind, http_port),
            control_grpc=Endpoint(settings.bind, grpc_port),
            tls=secrets.tls,
            access_log=str((settings.data_dir / "logs" / "access.log").resolve()),
            limits=Limits(
                max_requests=settings.max_requests,
                max_message_bytes=settings.max_message_bytes,
                large_bytes=own.memory_bytes // LARGE_SHARE,
                headers_timeout_seconds=own.headers_seconds,
                request_timeout_seconds=own.request_seconds,
                idle_timeout_seconds=own.idle_seconds,
            ),
            cors_origins=settings.cors_origins,
        )
        await publisher.publish()
        run_job(stack, "control", publisher.job)
        write_bootstrap(
            settings.data_dir / "envoy" / "bootstrap.json",
            xds_port=xds_port,
            admin_socket=None,
            node_id="gateway",
            capacity=Capacity(own.connections, own.memory_bytes),
        )
        return ControlPlane(
            joined(settings.advertise or settings.bind, grpc_port), registry, publisher, stack.pop_all()
        )
