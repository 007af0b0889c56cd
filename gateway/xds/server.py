"""The xDS server: delta ADS over grpc.aio, with one configuration for every Envoy that connects."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import grpc
import structlog
from envoy_data_plane.envoy.service.discovery.v3 import DeltaDiscoveryRequest, DeltaDiscoveryResponse

from gateway.xds.resources import Group, configuration, endpoints
from gateway.xds.snapshot import Snapshot
from gateway.xds.state import NodeState, XdsState
from gateway.xds.stream import Stream
from gateway.xds.track import Track

log = structlog.get_logger(__name__)

_SERVICE = "envoy.service.discovery.v3.AggregatedDiscoveryService"


class XdsServer:
    """Serves the last published snapshot. If an Envoy refuses its configuration, the last accepted one is served again.

    Endpoints are a group of their own: the newest ones are sent even while clusters, routes and listener are those of
    an older snapshot.
    """

    def __init__(self, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self._address = f"{host}:{port}"
        self._server: grpc.aio.Server | None = None
        self._configuration = Track()
        self._endpoints = Track()
        self._nodes: dict[str, NodeState] = {}
        self._tracks = (self._configuration, self._endpoints)
        self._streams: set[Stream] = set()
        self._shape: tuple[object, ...] | None = None
        self._publishing = asyncio.Lock()

    async def start(self) -> int:
        """Listen, and return the port."""
        self._server = grpc.aio.server()
        handler = grpc.stream_stream_rpc_method_handler(
            self._delta,
            request_deserializer=DeltaDiscoveryRequest.parse,
            response_serializer=bytes,
        )
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(_SERVICE, {"DeltaAggregatedResources": handler}),)
        )
        port = self._server.add_insecure_port(self._address)
        await self._server.start()
        return port

    async def stop(self) -> None:
        """Close every stream; each Envoy keeps its configuration and serves."""
        if self._server is not None:
            await self._server.stop(grace=None)

    async def publish(self, snapshot: Snapshot) -> None:
        """Make `snapshot` current. When this returns, the changes are on their way to every Envoy.

        Raises:
            google.protobuf.message.DecodeError: the descriptor set is not valid; then nothing changes.
        """
        async with self._publishing:
            shape = snapshot.shape()
            if shape != self._shape:
                # It takes 150 ms for thirty services, which is too long for the event loop that renews the leases.
                self._configuration.offer(await asyncio.to_thread(configuration, snapshot))
                self._shape = shape
            self._endpoints.offer(endpoints(snapshot))
            for stream in self._streams:
                stream.wake(retry=True)

    def state(self) -> XdsState:
        """The versions that every Envoy should have, and those that each has accepted."""
        groups = [track.current for track in self._tracks]
        versions = {type_url: group.version for group in groups if group is not None for type_url in group.types}
        nodes = {name: replace(node, acked=dict(node.acked)) for name, node in self._nodes.items()}
        return XdsState(versions, nodes, fallen_back=any(track.fallen_back for track in self._tracks))

    async def _delta(
        self,
        requests: AsyncIterator[DeltaDiscoveryRequest],
        context: grpc.aio.ServicerContext[DeltaDiscoveryRequest, DeltaDiscoveryResponse],
    ) -> None:
        stream = Stream(self._tracks, self._nodes, self._refused)
        self._streams.add(stream)
        try:
            async with asyncio.TaskGroup() as tasks:
                writer = tasks.create_task(_write(stream, context))
                await stream.read(requests)
                writer.cancel()
        finally:
            self._streams.discard(stream)

    def _refused(self, track: Track, group: Group) -> None:
        before = track.current
        track.refuse(group)
        if track.current is not before:
            log.warning("falling back to the last good configuration", refused=group.version)
            for stream in self._streams:
                stream.wake()


async def _write(
    stream: Stream, context: grpc.aio.ServicerContext[DeltaDiscoveryRequest, DeltaDiscoveryResponse]
) -> None:
    async for response in stream.responses():
        await context.write(response)
