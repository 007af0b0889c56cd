"""What a running stack says of itself in `run/control.json`, for the commands that look from outside."""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import psutil

from cli.status import PartStatus, State


@dataclass(frozen=True)
class Failure:
    """Why a stack did not start: the part, if it was one, and the last lines of its log."""

    message: str
    part: str | None = None
    log: Sequence[str] = ()


@dataclass(frozen=True)
class StackState:
    """One stack at one moment.

    Attributes:
        pid, created: the control process, and when it began (epoch seconds), so that a reused pid is not taken for it.
        state: `starting`, `ready`, `stopping`, `stopped` or `failed`.
        url: of the one public port.
    """

    pid: int
    created: float
    state: State
    url: str
    parts: Sequence[PartStatus] = field(default=())
    failure: Failure | None = None

    @classmethod
    def of_this_process(cls, url: str) -> "StackState":
        """The first state of a stack that starts in this process."""
        return cls(os.getpid(), psutil.Process().create_time(), State.STARTING, url)

    @property
    def alive(self) -> bool:
        """Whether the control process still runs."""
        try:
            process = psutil.Process(self.pid)
            return process.create_time() == self.created and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False

    def write(self, path: Path) -> None:
        """Replace the file in one step, so a reader never sees half of it."""
        new = path.with_name(path.name + ".new")
        new.write_text(json.dumps(asdict(self)))
        new.replace(path)

    @classmethod
    def read(cls, path: Path) -> "StackState | None":
        """What was written last; None when no stack ever ran here."""
        try:
            stored = json.loads(path.read_text())
        except FileNotFoundError:
            return None
        state = cls(**stored)
        parts = tuple(PartStatus(**{**part, "state": State(part["state"])}) for part in stored["parts"])
        failure = Failure(**stored["failure"]) if stored["failure"] is not None else None
        return replace(state, state=State(state.state), parts=parts, failure=failure)


def running(path: Path) -> StackState | None:
    """The stack that runs now; None when none does."""
    state = StackState.read(path)
    return state if state is not None and state.alive else None
