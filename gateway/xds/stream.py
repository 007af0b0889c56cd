"""The delta ADS stream of one Envoy: reads its requests, and writes the current resources that it does not have."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from itertools import count

import structlog
from envoy_data_plane.envoy.service.discovery.v3 import DeltaDiscoveryRequest, DeltaDiscoveryResponse, Resource

from gateway.xds.resources import CLUSTER, ENDPOINTS, ORDER, Group
from gateway.xds.state import NodeState
from gateway.xds.subscription import Subscription
from gateway.xds.track import Track

log = structlog.get_logger(__name__)


class Stream:
    """State of a stream. All streams share `tracks`; `on_refusal` is called when this Envoy refuses a resource."""

    def __init__(
        self, tracks: Iterable[Track], nodes: dict[str, NodeState], on_refusal: Callable[[Track, Group], None]
    ) -> None:
        self._tracks = tuple(tracks)
        self._nodes = nodes
        self._on_refusal = on_refusal
        self._node_id = ""
        self._subscriptions: dict[str, Subscription] = {}
        self._nonces = count(1)
        self._wakeup = asyncio.Event()

    def wake(self, *, retry: bool = False) -> None:
        """Let the stream send what has changed; with `retry`, it also sends again what its Envoy refused."""
        if retry:
            for subscription in self._subscriptions.values():
                subscription.retry_refused()
        self._wakeup.set()

    async def read(self, requests: AsyncIterator[DeltaDiscoveryRequest]) -> None:
        """Read requests until the Envoy disconnects."""
        try:
            async for request in requests:
                self._take(request)
        finally:
            if self._node_id:
                self._nodes[self._node_id].streams -= 1
                log.info("envoy disconnected", node=self._node_id)

    async def responses(self) -> AsyncIterator[DeltaDiscoveryResponse]:
        """Responses as they become due, without end."""
        while True:
            await self._wakeup.wait()
            self._wakeup.clear()
            for response in self._due():
                yield response
            self._note_progress()

    def _take(self, request: DeltaDiscoveryRequest) -> None:
        if not self._node_id:
            self._node_id = request.node.id if request.node else "unknown"
            node = self._nodes.setdefault(self._node_id, NodeState())
            node.streams += 1
            node.acked.clear()
            log.info("envoy connected", node=self._node_id)
        subscription = self._subscriptions.get(request.type_url)
        if subscription is None:
            self._subscriptions[request.type_url] = Subscription.open(request)
            self.wake()
        elif subscription.change(request):
            self.wake()
        if subscription is not None and request.response_nonce:
            self._answered(subscription, request)
        self._note_progress()

    def _answered(self, subscription: Subscription, request: DeltaDiscoveryRequest) -> None:
        error = request.error_detail
        sent = subscription.answered(request.response_nonce, refused=error is not None)
        if sent is None:
            return
        if error is None:
            log.debug("xds ack", node=self._node_id, type=request.type_url, version=sent.group.version)
            return
        node = self._nodes[self._node_id]
        node.nacks += 1
        node.nack = f"{request.type_url}: {error.message}"
        log.error(
            "xds nack",
            node=self._node_id,
            type=request.type_url,
            version=sent.group.version,
            resources=sent.names,
            error=error.message,
        )
        for track in self._tracks:
            if track.current is not None and request.type_url in track.current.types:
                self._on_refusal(track, sent.group)

    def _due(self) -> Iterator[DeltaDiscoveryResponse]:
        """Additions in `ORDER`, then removals in reverse, so that no resource refers to a missing one."""
        for type_url in ORDER:
            yield from self._response(type_url, removals=False)
        for type_url in reversed(ORDER):
            yield from self._response(type_url, removals=True)

    def _response(self, type_url: str, *, removals: bool) -> Iterator[DeltaDiscoveryResponse]:
        subscription, group = self._subscriptions.get(type_url), self._group(type_url)
        if subscription is None or group is None:
            return
        wanted = group.types[type_url]
        changed: list[Resource] = [] if removals else subscription.changed(wanted)
        removed = subscription.removed(wanted) if removals else []
        if not changed and not removed:
            return
        if type_url == CLUSTER and ENDPOINTS in self._subscriptions:
            # Envoy uses a changed cluster only after its endpoints were sent again.
            self._subscriptions[ENDPOINTS].forget(resource.name for resource in changed)
        nonce = str(next(self._nonces))
        subscription.sending(nonce, group, changed, removed)
        yield DeltaDiscoveryResponse(
            system_version_info=group.version,
            type_url=type_url,
            nonce=nonce,
            resources=changed,
            removed_resources=removed,
        )

    def _note_progress(self) -> None:
        """Note which types this Envoy has accepted; a group is good when all its types are accepted."""
        node = self._nodes.get(self._node_id)
        for track in self._tracks:
            group = track.current
            if group is None or node is None:
                continue
            running = [each for each in group.types if self._runs(each, group)]
            for type_url in running:
                node.acked[type_url] = group.version
            if len(running) == len(group.types):
                track.accept(group)

    def _runs(self, type_url: str, group: Group) -> bool:
        subscription = self._subscriptions.get(type_url)
        return subscription is not None and subscription.runs(group.types[type_url])

    def _group(self, type_url: str) -> Group | None:
        for track in self._tracks:
            if track.current is not None and type_url in track.current.types:
                return track.current
        return None
