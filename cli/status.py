"""The status of a part at one moment."""

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """The state of a part."""

    WAITING = "waiting"
    STARTING = "starting"
    READY = "ready"
    # It has no process now, and starts one when somebody uses it.
    IDLE = "idle"
    UNHEALTHY = "unhealthy"
    RESTARTING = "restarting"
    FAILED = "failed"
    STOPPING = "stopping"
    STOPPED = "stopped"


@dataclass(frozen=True)
class PartStatus:
    """The status of one part; `reason` says why it is not ready, and `where` is an address for people."""

    name: str
    state: State
    pid: int | None
    port: int | None
    version: str | None
    where: str | None
    external: bool
    restarts: int
    reason: str | None
