"""The interface of a part: how the supervisor starts, probes and stops it."""

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
        argv: the program's full path and its arguments, without secrets, because other users can read them.
        env: variables in addition to those that it inherits.
        bare: whether it inherits only the variables that programs need to start, and none about other servers,
            languages or keys.
        account: the user it runs as; None for the user of this process.
        files: descriptors that it inherits, under the same numbers.
        death_signal: signal that the child gets when this process dies without stopping it.
    """

    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    bare: bool = False
    cwd: Path | None = None
    account: Account | None = None
    files: Sequence[int] = ()
    death_signal: signal.Signals = signal.SIGKILL


class Part:
    """One part of a stack. A subclass defines how it is started; a part without a process of its own launches nothing.

    Attributes:
        name: unique in the stack, such as `postgres`.
        after: names of the parts that must be ready before this one starts, and stop only after it.
        outlived_by: names of further parts that stop only after this one, whichever starts first.
        stop_signal: signal that ends its process cleanly.
        grace: seconds that a clean end may take before the process is killed.
        patience: seconds that it may take to become ready for the first time.
        port: TCP port that it serves on, when it is known.
        version: version of the program, when it is known.
        where: address for people, or the URL of an external part without its password.
        external: whether somebody else runs it.
        optional: whether the stack is ready without it; then it is started again however often it fails.
        sleeps: whether it has a process only while somebody uses it. The process starts when `asked` returns. Its end
            with status 0 is no failure, and it is not started again before somebody asks.
        replaceable: whether two of its processes can run at the same time, so that one can take over from the other.
        leave_signal, leave_grace: used instead of `stop_signal` and `grace` for a process that was replaced.
        own_pid: pid of the process that it runs in when it launches none.
    """

    stop_signal: signal.Signals = signal.SIGTERM
    grace: float = 10.0
    patience: float = 60.0
    external: bool = False
    optional: bool = False
    sleeps: bool = False
    replaceable: bool = False
    leave_signal: signal.Signals = signal.SIGTERM
    leave_grace: float = 10.0

    def __init__(self, name: str, after: Sequence[str] = ()) -> None:
        self.name = name
        self.after = tuple(after)
        self.outlived_by: tuple[str, ...] = ()
        self.port: int | None = None
        self.version: str | None = None
        self.where: str | None = None
        self.own_pid: int | None = None

    async def asked(self) -> None:
        """Return when somebody uses a part that sleeps."""

    def refuse(self, why: str) -> None:
        """Refuse those who wait for a part that sleeps, because its process ended several times."""

    async def launch(self) -> Launch | None:
        """Prepare the files of the program and return how to start it; called before every start.

        Raises:
            MeshError: it cannot be started, and another attempt would not help.
        """
        return None

    async def probe(self, pid: int | None) -> None:
        """Return if the part serves now.

        Raises:
            FailedPrecondition, InvalidArgument: it cannot serve until somebody changes something; the first start
                fails.
            MeshError, OSError: it does not serve now, and why.
        """

    async def close(self) -> None:
        """Close what `launch` opened in this process; called once, when the part is stopped."""


class Located(Part, ABC):
    """A part that services use by its URL."""

    @property
    @abstractmethod
    def url(self) -> str:
        """The URL, with the password; valid when the part is ready."""

    @property
    def settings(self) -> Mapping[str, str]:
        """The settings, by name, with which a process uses the part; valid when the part is ready."""
        return {f"{self.name}_url": self.url}
