"""What a running stack says of itself in `run/control.json`, for the commands that look from outside."""

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

# How long a state that was deleted may be missing.
LOOK_SECONDS = 1.0


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
        pid: the control process.
        state: `starting`, `ready`, `stopping`, `stopped` or `failed`.
        url: of the one public port.
    """

    pid: int
    state: State
    url: str
    parts: Sequence[PartStatus] = field(default=())
    failure: Failure | None = None

    @classmethod
    def of_this_process(cls, url: str) -> "StackState":
        """The first state of a stack that starts in this process."""
        return cls(os.getpid(), State.STARTING, url)

    @property
    def text(self) -> str:
        """As it is stored."""
        return json.dumps(asdict(self))

    @classmethod
    def read(cls, path: Path) -> "StackState | None":
        """What was written last; None when nothing was, or what is there is damaged or of another version.

        Raises:
            OSError: there is something that cannot be read.
        """
        try:
            stored = json.loads(path.read_text())
            state = cls(**stored)
            parts = tuple(PartStatus(**{**part, "state": State(part["state"])}) for part in stored["parts"])
            failure = Failure(**stored["failure"]) if stored["failure"] is not None else None
            return replace(state, state=State(state.state), parts=parts, failure=failure)
        except (FileNotFoundError, NotADirectoryError, ValueError, TypeError, KeyError):
            return None


class StateFile:
    """Keeps `run/control.json` saying what was told last, whatever happens to it, to its folder and to the lock."""

    def __init__(self, directory: DataDir, lock: Lock) -> None:
        self._path = directory.state
        self._lock = lock
        self._text = ""

    def tell(self, state: StackState) -> None:
        """Write `state` now; where that fails, the job says so and tries again."""
        self._text = state.text
        with suppress(OSError, MeshError):
            self._write()

    @property
    def job(self) -> Job:
        """Writes again what is not there any more; fails while another process has locked the data directory."""
        return Job("state", self._keep, every=LOOK_SECONDS)

    async def _keep(self) -> None:
        self._write()

    def _write(self) -> None:
        self._path.parent.mkdir(mode=0o700, exist_ok=True)
        self._lock.renew()
        if not self._is_there():
            # In one step, so a reader never sees half of it.
            new = self._path.with_name(self._path.name + ".new")
            new.write_text(self._text)
            new.replace(self._path)

    def _is_there(self) -> bool:
        try:
            return self._path.read_bytes() == self._text.encode()
        except OSError:
            return False


def running(directory: DataDir) -> StackState | None:
    """The stack that runs now; None when none does.

    Whether one runs, its lock says: its state may be missing, or be that of one before.

    Raises:
        FailedPrecondition: one does, and has not said what it is.
    """
    holder = directory.lock.holder()
    if holder is None or holder.purpose is not Purpose.STACK:
        return None
    with directory.usable():
        state = StackState.read(directory.state)
    if state is None or state.pid != holder.pid:
        raise FailedPrecondition(
            f"a stack runs on {directory.root} (pid {holder.pid}), but {directory.state} does not describe it; "
            "it is written again within seconds, and where that fails soma logs control says why; soma down stops it",
            reason="STATE_UNREADABLE",
        )
    return state
