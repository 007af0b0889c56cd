"""What is known of a part at one moment."""

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """Where a part is in its life."""

    WAITING = "waiting"
    STARTING = "starting"
    READY = "ready"
    UNHEALTHY = "unhealthy"
    RESTARTING = "restarting"
    FAILED = "failed"
    STOPPING = "stopping"
    STOPPED = "stopped"


@dataclass(frozen=True)
class PartStatus:
    """One part now; `reason` says why it is not ready, `where` is for people."""

    name: str
    state: State
    pid: int | None
    port: int | None
    version: str | None
    where: str | None
    external: bool
    restarts: int
    reason: str | None
