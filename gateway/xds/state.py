"""What the control plane knows of each Envoy, for the publisher and for tests."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass
class NodeState:
    """One Envoy; its state is kept after it has disconnected."""

    streams: int = 0
    """Open streams; 0 means that it is not connected."""
    acked: dict[str, str] = field(default_factory=dict)
    """The version that it accepted last since it connected, by type URL."""
    nack: str | None = None
    """Type and error of the last refusal; None when there was none."""
    nacks: int = 0
    """Refusals so far."""


@dataclass(frozen=True)
class XdsState:
    """Nodes by id, and the versions that they should have, by type URL."""

    versions: Mapping[str, str]
    nodes: Mapping[str, NodeState]
    fallen_back: bool
    """Whether the newest configuration was refused, and an older one is served."""

    def accepted(self) -> bool:
        """Whether every connected node has accepted exactly the current versions."""
        return all(node.acked == self.versions for node in self.nodes.values() if node.streams)

    def settled(self) -> bool:
        """Whether a node is connected, and every connected node has accepted the current versions."""
        return any(node.streams for node in self.nodes.values()) and self.accepted()
