"""What the control plane knows of each Envoy, for status pages and tests."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass
class NodeState:
    """One Envoy, by its node id; kept after it is gone."""

    streams: int = 0
    """Open streams: 0 means it is not connected."""
    acked: dict[str, str] = field(default_factory=dict)
    """Version last accepted since it connected, by type URL."""
    nack: str | None = None
    """Type and error of the last refusal; None when there was none."""
    nacks: int = 0
    """Refusals so far."""


@dataclass(frozen=True)
class XdsState:
    """Nodes by id, and the versions they are to have, by type URL."""

    versions: Mapping[str, str]
    nodes: Mapping[str, NodeState]
    fallen_back: bool
    """Whether the newest configuration was refused, and an older one is served."""

    def accepted(self) -> bool:
        """Whether every connected node accepted exactly what it is to have."""
        return all(node.acked == self.versions for node in self.nodes.values() if node.streams)

    def settled(self) -> bool:
        """Whether a node is connected, and every connected one did."""
        return any(node.streams for node in self.nodes.values()) and self.accepted()
