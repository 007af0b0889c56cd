"""The state file of a running stack, `run/control.json`, which the commands read."""

import json
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from cli.data_dir import DataDir
from cli.lock import Lock, Purpose
from cli.status import PartStatus, State
from services.mesh.call.errors import FailedPrecondition, MeshError
from services.mesh.process.jobs import Job

# Seconds between two checks that the file is still there.
LOOK_SECONDS = 1.0


@dataclass(frozen=True)
class StartFailure:
    """Why a stack did not start: the message, the failed part if there is one, and the last lines of its log."""

    message: str
    part: str | None = None
    log: Sequence[str] = ()


@dataclass(frozen=True)
class StackState:
    """The state of a stack at one moment.

    Attributes:
        pid: pid of the control process.
        state: `starting`, `ready`, `stopping`, `stopped` or `failed`.
        url: URL of the public port.
    """

    pid: int
    state: State
    url: str
    parts: Sequence[PartStatus] = field(default=())
    failure: StartFailure | None = None

    @classmethod
    def of_this_process(cls, url: str) -> "StackState":
        """The first state of a stack that starts in this process."""
        return cls(os.getpid(), State.STARTING, url)

    @property
    def text(self) -> str:
        """The content of the state file."""
        return json.dumps(asdict(self))

    @classmethod
    def read(cls, path: Path) -> "StackState | None":
        """Read the state file; None when there is none, or when it is damaged or of another version.

        Raises:
            OSError: the file exists and cannot be read.
        """
        try:
            stored = json.loads(path.read_text())
            state = cls(**stored)
            parts = tuple(PartStatus(**{**part, "state": State(part["state"])}) for part in stored["parts"])
            failure = StartFailure(**stored["failure"]) if stored["failure"] is not None else None
            return replace(state, state=State(state.state), parts=parts, failure=failure)
        except (FileNotFoundError, NotADirectoryError, ValueError, TypeError, KeyError):
            return None


class StateFile:
    """Writes the state file, and restores it and the lock if they are deleted or damaged."""

    def __init__(self, directory: DataDir, lock: Lock) -> None:
        self._path = directory.state
        self._lock = lock
        self._text = ""

    def tell(self, state: StackState) -> None:
        """Write `state` now. If that fails, the job reports it and tries again."""
        self._text = state.text
        with suppress(OSError, MeshError):
            self._write()

    @property
    def job(self) -> Job:
        """A job that restores missing files; it fails while another process has locked the data directory."""
        return Job("state", self._keep, every=LOOK_SECONDS)

    async def _keep(self) -> None:
        self._write()

    def _write(self) -> None:
        self._path.parent.mkdir(mode=0o700, exist_ok=True)
        self._lock.renew()
        if not self._is_there():
            # Replaced in one step, so that a reader never sees half of it.
            new = self._path.with_name(self._path.name + ".new")
            new.write_text(self._text)
            new.replace(self._path)

    def _is_there(self) -> bool:
        try:
            return self._path.read_bytes() == self._text.encode()
        except OSError:
            return False


def running(directory: DataDir) -> StackState | None:
    """The running stack; None when none runs.

    The lock decides whether one runs, because the state file may be missing or left from an earlier stack.

    Raises:
        FailedPrecondition: a stack runs, but its state file is missing or not its own.
    """
    holder = directory.lock.holder()
    if holder is None or holder.purpose is not Purpose.STACK:
        return None
    with directory.usable():
        state = StackState.read(directory.state)
    if state is None or state.pid != holder.pid:
        raise FailedPrecondition(
            f"a stack runs on {directory.root} (pid {holder.pid}), but {directory.state} does not describe it; "
            "it is written again within seconds; if that fails, see soma logs control; soma down stops the stack",
            reason="STATE_UNREADABLE",
        )
    return state
