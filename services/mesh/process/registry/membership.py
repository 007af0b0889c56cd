"""Makes a process a member of the mesh: announces it, renews its lease, keeps the directory up to date."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING

import grpc
import structlog
from soma.errors.v1 import reasons
from soma.mesh.v1 import registry_service_pb2 as pb
from soma.mesh.v1.registry_service_pb2_grpc import RegistryServiceStub
from soma.mesh.v1.surface_pb2 import SurfaceRefusal

from services.mesh.call.errors import Unavailable
from services.mesh.call.status import AS_MESH_ERRORS
from services.mesh.call.token import METADATA_KEY, Signer
from services.mesh.process.jobs import Job, run_job
from services.mesh.transport.directory import Directory, Endpoint

if TYPE_CHECKING:
    from soma.mesh.v1.registry_service_pb2_grpc import RegistryServiceAsyncStub

log = structlog.get_logger("registry")

_RENEW_SECONDS = 1.0
_RETRY_SECONDS = 0.2


class Membership:
    """The lease of one instance.

    Args:
        connect: opens a channel to the control process, a new one for each lease because certificates change.
        instance: is announced.
        health: gives the faults by service, at each renewal.
        directory: gets the endpoints that the registry sends.
        signer: signs the call to the registry.
        dependencies: gives the state of each dependency by service, at each renewal.

    Attributes:
        refused: the surfaces of the instance that the gateway does not serve, by its latest answer.
    """

    def __init__(
        self,
        connect: Callable[[], grpc.aio.Channel],
        instance: pb.Instance,
        health: Callable[[], Mapping[str, str]],
        directory: Directory,
        signer: Signer,
        dependencies: Callable[[], Mapping[str, Mapping[str, str]]] = dict,
    ) -> None:
        self._connect = connect
        self._instance = instance
        self._health = health
        self._dependencies = dependencies
        self._directory = directory
        self._signer = signer
        self._changed = asyncio.Event()
        self._joined = asyncio.Event()
        self._kept = AsyncExitStack()
        self.refused: tuple[SurfaceRefusal, ...] = ()

    async def join(self) -> None:
        """Announce the instance and return once the registry has answered."""
        run_job(self._kept, "mesh", Job("registry", self._keep, longest_pause=_RETRY_SECONDS))
        await self._joined.wait()

    def health_changed(self) -> None:
        """Tell the registry now rather than at the next renewal."""
        self._changed.set()

    async def leave(self) -> None:
        """End the lease: processes that follow the registry send the instance no new calls."""
        await self._kept.aclose()

    async def _keep(self) -> None:
        """Hold one lease until it is lost.

        Raises:
            MeshError: says why the lease is lost.
        """
        channel = self._connect()
        stub: RegistryServiceAsyncStub = RegistryServiceStub(channel)
        stream = stub.Register(self._requests(), metadata=((METADATA_KEY, self._signer.sign(None)),))
        try:
            with AS_MESH_ERRORS:
                async for response in stream:
                    self._directory.replace(_endpoint(e) for e in response.endpoints)
                    self._take(tuple(response.refused))
                    self._joined.set()
        finally:
            stream.cancel()
            await channel.close()
        raise Unavailable("the registry has ended the lease", reason=reasons.REGISTRY_LOST)

    def _take(self, refused: tuple[SurfaceRefusal, ...]) -> None:
        for each in refused:
            if each not in self.refused:
                surface = f"{each.service}/{each.name}"
                log.error("surface refused by the gateway", surface=surface, reason=each.reason, why=each.message)
        self.refused = refused

    async def _requests(self) -> AsyncIterator[pb.RegisterRequest]:
        yield pb.RegisterRequest(instance=self._instance, health=self._report())
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(_RENEW_SECONDS):
                    await self._changed.wait()
            self._changed.clear()
            yield pb.RegisterRequest(health=self._report())

    def _report(self) -> list[pb.ServiceHealth]:
        faults, dependencies = self._health(), self._dependencies()
        return [
            pb.ServiceHealth(
                service=name,
                state=pb.ServiceHealth.STATE_NOT_SERVING if name in faults else pb.ServiceHealth.STATE_SERVING,
                reason=faults.get(name, "")[:1024],
                dependencies={key: why[:1024] for key, why in dependencies.get(name, {}).items()},
            )
            for name in self._instance.services
        ]


def _endpoint(message: pb.Endpoint) -> Endpoint:
    return Endpoint(message.service, message.grpc_address, message.instance_id, message.serving, message.reason)
