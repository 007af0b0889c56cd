"""What one stream holds of one resource type, and how it differs from what it should hold. No I/O."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from envoy_data_plane.envoy.service.discovery.v3 import DeltaDiscoveryRequest, Resource

from gateway.xds.resources import Group

_ABSENT = ""
"""Version of a resource that the client was told does not exist."""


@dataclass(frozen=True)
class Sent:
    """A response on its way."""

    group: Group
    names: tuple[str, ...]


@dataclass
class Subscription:
    """Delta xDS keeps, per stream and type, what was asked for and which versions the client has.

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
        """From the first request of a type: no names mean all; a reconnecting client says what it holds."""
        names = set(request.resource_names_subscribe)
        return cls(wildcard=not names or "*" in names, names=names, held=dict(request.initial_resource_versions))

    def change(self, request: DeltaDiscoveryRequest) -> bool:
        """Take a change of interest; whether there was one. Asking again for a name means the client has lost it."""
        self.names.update(request.resource_names_subscribe)
        self.names.difference_update(request.resource_names_unsubscribe)
        for name in (*request.resource_names_subscribe, *request.resource_names_unsubscribe):
            self.held.pop(name, None)
        return bool(request.resource_names_subscribe or request.resource_names_unsubscribe)

    def changed(self, wanted: Mapping[str, Resource]) -> list[Resource]:
        """Resources the client should have in another version than it has."""
        return [each for name, each in wanted.items() if self._follows(name) and self.held.get(name) != each.version]

    def removed(self, wanted: Mapping[str, Resource]) -> list[str]:
        """Names the client holds or waits for that do not exist."""
        known = {*self.held, *self.names} - {"*"}
        return sorted(name for name in known if name not in wanted and self.held.get(name) != _ABSENT)

    def sending(self, nonce: str, group: Group, changed: Iterable[Resource], removed: Iterable[str]) -> None:
        """Note a response."""
        for resource in changed:
            self.held[resource.name] = resource.version
            self.refused.discard(resource.name)
        for name in removed:
            self.held[name] = _ABSENT
        self.unacknowledged[nonce] = Sent(group, tuple(resource.name for resource in changed))

    def answered(self, nonce: str, *, refused: bool) -> Sent | None:
        """Take an ACK or a NACK; the response it is about, None when it is not of this stream."""
        sent = self.unacknowledged.pop(nonce, None)
        if sent and refused:
            self.refused.update(sent.names)
        return sent

    def retry_refused(self) -> None:
        """Send again what was refused: the reason may have gone."""
        self.forget(self.refused)
        self.refused = set()

    def forget(self, names: Iterable[str]) -> None:
        """Send `names` again, whatever the client holds."""
        for name in names:
            self.held.pop(name, None)

    def runs(self, wanted: Mapping[str, Resource]) -> bool:
        """Whether the client has accepted exactly what it should hold."""
        return not (self.unacknowledged or self.refused or self.changed(wanted) or self.removed(wanted))

    def _follows(self, name: str) -> bool:
        return self.wildcard or name in self.names
