"""soma.mesh.v1.RegistryService: keeps the leases, and sends every instance each change of the endpoints."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

import structlog
from soma.errors.v1 import reasons
from soma.mesh.v1 import registry_service_pb2 as pb
from soma.mesh.v1 import registry_service_pb2_grpc as rpc
from soma.mesh.v1.surface_pb2 import SurfaceRefusal

from services.mesh.call import errors
from services.mesh.process.registry.leases import LEASE_SECONDS, Joined
from services.mesh.transport.directory import Directory

log = structlog.get_logger("registry")


class RegistryService(rpc.RegistryServiceServicer):
    """Keeps the leases in memory: after a restart of the registry, every instance joins again within a second.


    `admit` checks an instance before it joins, and raises a MeshError if it may not join.
    """

    def __init__(self, directory: Directory, admit: Callable[[pb.Instance], None] = lambda _: None) -> None:
        self._directory = directory
        self._admit = admit
        self._joined: dict[str, Joined] = {}
        self._turned_away = ""
        self._refused: Mapping[str, Sequence[SurfaceRefusal]] = {}
        self._version = 0
        self._listeners: set[asyncio.Event] = set()
        self._watchers: list[Callable[[], None]] = []

    @property
    def instances(self) -> list[Joined]:
        """The instances that hold a lease, in the order in which they joined."""
        return list(self._joined.values())

    def watch(self, changed: Callable[[], None]) -> None:
        """Call `changed` when an instance joins, leaves, or changes its health."""
        self._watchers.append(changed)

    def refuse(self, refused: Mapping[str, Sequence[SurfaceRefusal]]) -> None:
        """Tell instances, by their ids, which of their surfaces are not served; those that are left out have none."""
        if refused != self._refused:
            self._refused = refused
            self._tell()

    async def Register(
        self, request_iterator: AsyncIterator[pb.RegisterRequest], context: Any
    ) -> AsyncIterator[pb.RegisterResponse]:
        loop = asyncio.get_running_loop()
        changed = asyncio.Event()
        changed.set()
        first = await anext(aiter(request_iterator), None)
        if first is None or not first.instance.instance_id:
            raise errors.InvalidArgument("the first message must carry the instance", reason=reasons.INSTANCE_MISSING)
        instance_id = first.instance.instance_id
        try:
            self._admit(first.instance)
        except errors.MeshError as error:
            # It tries again and again.
            if instance_id != self._turned_away:
                log.warning("instance refused", instance=instance_id, reason=error.reason, why=error.message)
            self._turned_away = instance_id
            raise
        joined = _joined(first, loop.time())
        self._joined[instance_id] = joined
        log.info("instance joined", instance=instance_id, services=joined.services, address=joined.grpc_address)
        self._listeners.add(changed)
        self._publish()
        ended = asyncio.Event()
        listening = asyncio.create_task(self._listen(instance_id, request_iterator, changed, ended))
        sent = -1
        try:
            while not ended.is_set():
                silent = loop.time() - self._joined[instance_id].heard
                try:
                    async with asyncio.timeout(max(0.0, LEASE_SECONDS - silent) + 0.01):
                        await changed.wait()
                except TimeoutError:
                    if self._joined[instance_id].expired(loop.time()):
                        raise errors.DeadlineExceeded(
                            f"silent for more than {LEASE_SECONDS:g} s", reason=reasons.LEASE_EXPIRED
                        ) from None
                    continue
                changed.clear()
                if sent != self._version:
                    sent = self._version
                    yield self._view(instance_id)
        finally:
            listening.cancel()
            self._listeners.discard(changed)
            if self._joined.pop(instance_id, None) is not None:
                log.info("instance left", instance=instance_id, services=joined.services)
                self._publish()

    async def _listen(
        self,
        instance_id: str,
        requests: AsyncIterator[pb.RegisterRequest],
        changed: asyncio.Event,
        ended: asyncio.Event,
    ) -> None:
        loop = asyncio.get_running_loop()
        try:
            async for request in requests:
                before = self._joined[instance_id]
                after = before.heard_at(loop.time())
                if request.health:
                    after = after.with_health(_faults(request), _dependencies(request))
                self._joined[instance_id] = after
                if after.faults != before.faults:
                    log.info("health changed", instance=instance_id, faults=dict(after.faults))
                    self._publish()
        finally:
            ended.set()
            changed.set()

    def _publish(self) -> None:
        self._directory.replace(e for joined in self._joined.values() for e in joined.endpoints())
        self._tell()
        for watcher in self._watchers:
            watcher()

    def _tell(self) -> None:
        self._version += 1
        for listener in self._listeners:
            listener.set()

    def _view(self, instance_id: str) -> pb.RegisterResponse:
        return pb.RegisterResponse(
            endpoints=[
                pb.Endpoint(
                    service=e.service,
                    grpc_address=e.address,
                    instance_id=e.instance_id,
                    serving=e.serving,
                    reason=e.reason,
                )
                for joined in self._joined.values()
                for e in joined.endpoints()
            ],
            version=self._version,
            lease_seconds=LEASE_SECONDS,
            refused=self._refused.get(instance_id, ()),
        )


def _joined(request: pb.RegisterRequest, now: float) -> Joined:
    instance = request.instance
    return Joined(
        instance_id=instance.instance_id,
        services=tuple(instance.services),
        grpc_services=tuple(instance.grpc_services),
        grpc_address=instance.grpc_address,
        unary_address=instance.unary_address,
        http_addresses=_http_addresses(instance),
        admin_address=instance.admin_address,
        pid=instance.pid,
        version=instance.version,
        heard=now,
        surfaces=tuple(instance.surfaces),
    ).with_health(_faults(request), _dependencies(request))


def _http_addresses(instance: pb.Instance) -> dict[str, str]:
    """The addresses of HTTP servers by service; an older version gives only the one of the edge, in another field."""
    edge = {"edge": instance.http_address} if instance.http_address else {}
    return {**edge, **instance.http_addresses}


def _faults(request: pb.RegisterRequest) -> list[tuple[str, str]]:
    return [
        (health.service, health.reason or "not serving")
        for health in request.health
        if health.state != pb.ServiceHealth.STATE_SERVING
    ]


def _dependencies(request: pb.RegisterRequest) -> list[tuple[str, str, str]]:
    return [(health.service, name, why) for health in request.health for name, why in health.dependencies.items()]
