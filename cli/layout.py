"""Which services a stack runs, and in which processes."""

from collections.abc import Sequence
from dataclasses import dataclass

from services.declared import SERVICES
from services.mesh.call.errors import InvalidArgument


@dataclass(frozen=True)
class Layout:
    """The services of a stack and their processes. Services that are not apart run together.

    Attributes:
        apart: services that get a process of their own, or several: `memory`, `memory=2`.
        without: services that this stack does not run; a process may join with them later.
        workers: number of identical processes that run the services that are not apart.
        parts: parts to start although no service here needs them, for services that join later.
        triton: whether NVIDIA Triton is started for the models of the stack.
    """

    apart: Sequence[str] = ()
    without: Sequence[str] = ()
    workers: int = 1
    parts: Sequence[str] = ()
    triton: bool = False

    def processes(self) -> dict[str, tuple[str, ...]]:
        """The names of the serve processes, each with its services.

        Raises:
            InvalidArgument: a service does not exist, is apart twice, is both apart and left out, or has no process.
        """
        apart = self._apart()
        for name in (*apart, *self.without):
            if name not in SERVICES:
                raise InvalidArgument(f"there is no service {name!r}; there are {', '.join(SERVICES)}")
        if both := set(apart) & set(self.without):
            raise InvalidArgument(f"{', '.join(sorted(both))}: use either --apart or --without")
        if self.workers < 1:
            raise InvalidArgument(f"{self.workers} workers cannot serve anything; give 1 or more")
        together = tuple(name for name in SERVICES if name not in apart and name not in self.without)
        found = dict.fromkeys(_numbered("serve", self.workers) if together else [], together)
        for name, count in apart.items():
            found |= dict.fromkeys(_numbered(f"serve-{name}", count), (name,))
        return found

    def _apart(self) -> dict[str, int]:
        """The number of processes of each service that is apart."""
        counts: dict[str, int] = {}
        for given in self.apart:
            name, several, count = given.partition("=")
            if several and not (count.isdigit() and int(count) > 0):
                raise InvalidArgument(f"--apart {given}: give the number of processes, such as {name}=2")
            if name in counts:
                raise InvalidArgument(f"--apart names {name} twice")
            counts[name] = int(count) if several else 1
        return counts


def _numbered(name: str, count: int) -> list[str]:
    return [name] if count == 1 else [f"{name}-{number}" for number in range(1, count + 1)]
