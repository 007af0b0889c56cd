"""What the supervisor asks of a part: how to start it, whether it serves, how to stop it."""

import signal
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cli.parts.account import Account


@dataclass(frozen=True)
class Launch:
    """A program to run as a child process.

    Attributes:
        argv: the program's full path and its arguments; no secrets, other users can read them.
        env: variables added to the ones it gets of this process's.
        bare: whether it gets of this process's variables only what programs need in order to be found and to start;
            what they say of another server of its kind, of languages or of keys does not concern it.
        account: the user it runs as; None for the user of this process.
        death_signal: what the child gets when this process dies without stopping it.
    """

    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    bare: bool = False
    cwd: Path | None = None
    account: Account | None = None
    death_signal: signal.Signals = signal.SIGKILL


class Part:
    """One part of a stack. A subclass says how it is started; a part that has no process of its own launches nothing.

    Attributes:
        name: unique in the stack, such as `postgres`.
        after: names of the parts that must be ready before this one starts.
        stop_signal: asks its process to end cleanly.
        grace: seconds a clean end may take before the process is killed.
        patience: seconds it may take to be ready for the first time.
        port: TCP port it serves on, once known.
        version: of the program, once known.
        where: for people: an address, or the URL of an external part without its password.
        external: whether somebody else runs it.
        replaceable: whether two of its processes can run side by side, so that one takes over from the other.
        leave_signal, leave_grace: instead of the other two, for a process that another one has taken over from.
        own_pid: the process it lives in when it launches none.
    """

    stop_signal: signal.Signals = signal.SIGTERM
    grace: float = 10.0
    patience: float = 60.0
    external: bool = False
    replaceable: bool = False
    leave_signal: signal.Signals = signal.SIGTERM
    leave_grace: float = 10.0

    def __init__(self, name: str, after: Sequence[str] = ()) -> None:
        self.name = name
        self.after = tuple(after)
        self.port: int | None = None
        self.version: str | None = None
        self.where: str | None = None
        self.own_pid: int | None = None

    async def launch(self) -> Launch | None:
        """Prepare what the program needs and say how to start it; called before every start.

        Raises:
            MeshError: it cannot be started, and starting again would not help.
        """
        return None

    async def probe(self, pid: int | None) -> None:
        """Return when the part serves now.

        Raises:
            FailedPrecondition, InvalidArgument: it will not until something is changed; the first start ends here.
            MeshError, OSError: it does not (yet), and why.
        """

    async def close(self) -> None:
        """Let go of what `launch` opened in this process; called once, when the part is stopped."""


class Located(Part, ABC):
    """A part that services use by its URL."""

    @property
    @abstractmethod
    def url(self) -> str:
        """Where it is, with its password; of use once the part is ready."""
