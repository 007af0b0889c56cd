"""Which resources of one type the client of a stream has, and which it should get. No I/O."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from envoy_data_plane.envoy.service.discovery.v3 import DeltaDiscoveryRequest, Resource

from gateway.xds.resources import Group

_ABSENT = ""
"""The version that stands for a resource of which the client was told that it does not exist."""


@dataclass(frozen=True)
class Sent:
    """A response that was sent and is not answered."""

    group: Group
    names: tuple[str, ...]


@dataclass
class Subscription:
    """The state of delta xDS for one stream and type: what was asked for, and which versions the client has.

    https://www.envoyproxy.io/docs/envoy/latest/api-docs/xds_protocol#incremental-xds
    """

    wildcard: bool
    names: set[str]
    held: dict[str, str]
    """Versions the client has, or has been sent."""
    unacknowledged: dict[str, Sent] = field(default_factory=dict)
    """Responses the client has not answered, by nonce."""
    refused: set[str] = field(default_factory=set)
    """Names whose version in `held` the client refused."""

    @classmethod
    def open(cls, request: DeltaDiscoveryRequest) -> "Subscription":
        """From the first request of a type: no names mean all. A client that reconnects says what it has."""
        names = set(request.resource_names_subscribe)
        return cls(wildcard=not names or "*" in names, names=names, held=dict(request.initial_resource_versions))

    def change(self, request: DeltaDiscoveryRequest) -> bool:
        """Update the names; whether they changed. A client asks again for a name if it has lost that resource."""
        self.names.update(request.resource_names_subscribe)
        self.names.difference_update(request.resource_names_unsubscribe)
        for name in (*request.resource_names_subscribe, *request.resource_names_unsubscribe):
            self.held.pop(name, None)
        return bool(request.resource_names_subscribe or request.resource_names_unsubscribe)

    def changed(self, wanted: Mapping[str, Resource]) -> list[Resource]:
        """Resources of which the client does not have the wanted version."""
        return [each for name, each in wanted.items() if self._follows(name) and self.held.get(name) != each.version]

    def removed(self, wanted: Mapping[str, Resource]) -> list[str]:
        """Names that the client has or waits for, and that do not exist."""
        known = {*self.held, *self.names} - {"*"}
        return sorted(name for name in known if name not in wanted and self.held.get(name) != _ABSENT)

    def sending(self, nonce: str, group: Group, changed: Iterable[Resource], removed: Iterable[str]) -> None:
        """Note that a response is sent."""
        for resource in changed:
            self.held[resource.name] = resource.version
            self.refused.discard(resource.name)
        for name in removed:
            self.held[name] = _ABSENT
        self.unacknowledged[nonce] = Sent(group, tuple(resource.name for resource in changed))

    def answered(self, nonce: str, *, refused: bool) -> Sent | None:
        """Take an ACK or a NACK; return the response that it answers, or None if it is not of this stream."""
        sent = self.unacknowledged.pop(nonce, None)
        if sent and refused:
            self.refused.update(sent.names)
        return sent

    def retry_refused(self) -> None:
        """Send refused resources again, because the reason may be gone."""
        self.forget(self.refused)
        self.refused = set()

    def forget(self, names: Iterable[str]) -> None:
        """Send `names` again, even if the client has them."""
        for name in names:
            self.held.pop(name, None)

    def runs(self, wanted: Mapping[str, Resource]) -> bool:
        """Whether the client has accepted exactly the wanted resources."""
        return not (self.unacknowledged or self.refused or self.changed(wanted) or self.removed(wanted))

    def _follows(self, name: str) -> bool:
        return self.wildcard or name in self.names
