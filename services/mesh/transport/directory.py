"""Where services are: the registry's latest list of endpoints, which a process keeps while the registry is away."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import count


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The address of one instance of a service, and whether it takes calls now."""

    service: str
    address: str
    instance_id: str
    serving: bool = True
    reason: str = ""


def usable(endpoints: Sequence[Endpoint]) -> list[Endpoint]:
    """The endpoints to call: those that serve, or all when none does.

    An instance whose dependency is down answers with a typed reason, which the caller would not get otherwise.
    """
    return [e for e in endpoints if e.serving] or list(endpoints)


class Directory:
    """Endpoints by service name."""

    def __init__(self) -> None:
        self._endpoints: dict[str, list[Endpoint]] = {}
        # Each service has its own turn: with one for all, calls to two services in turn would get the same endpoints.
        self._turns: defaultdict[str, count[int]] = defaultdict(count)
        self._watchers: list[Callable[[], None]] = []

    def watch(self, changed: Callable[[], None]) -> None:
        """Call `changed` each time the list is replaced."""
        self._watchers.append(changed)

    def replace(self, endpoints: Iterable[Endpoint]) -> None:
        """Replace the list."""
        fresh: dict[str, list[Endpoint]] = {}
        for endpoint in endpoints:
            fresh.setdefault(endpoint.service, []).append(endpoint)
        self._endpoints = fresh
        for changed in self._watchers:
            changed()

    def pick(self, service: str) -> str | None:
        """The address of the service's next endpoint, in turn; None when it has none."""
        candidates = usable(self._endpoints.get(service, ()))
        if not candidates:
            return None
        return candidates[next(self._turns[service]) % len(candidates)].address

    def all(self, service: str) -> list[Endpoint]:
        """Every endpoint of a service."""
        return list(self._endpoints.get(service, ()))

    @property
    def services(self) -> list[str]:
        """Names with at least one endpoint."""
        return sorted(self._endpoints)
