"""A built service: its servicers, jobs, consumers of events, and the checks that say whether it can work."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from services.mesh.call.handlers import Registration
from services.mesh.events.consumer import Consumer
from services.mesh.process.health import Check
from services.mesh.process.jobs import Job
from services.mesh.surfaces.surface import Surface


@dataclass(frozen=True)
class Service:
    """What `build()` of a service returns.

    Attributes:
        servicers: each with the generated `add_XServicer_to_server`.
        jobs: run from the moment when calls are served until the service stops; then the service closes what it opened.
        events: its consumers of other services' events.
        checks: by the name of a dependency. A check raises when the dependency is down, and calls then go to another
            instance, if there is one.
        wants: the checks of dependencies without which the service still does most of its work. It goes on taking
            calls, and `/ready` says what is missing.
        surfaces: its HTTP paths, on a server of its own; the gateway's routes follow from them.
        finished: returns once work that no call waits for has ended. When a process stops, this work has as much time
            as calls have.
    """

    servicers: Sequence[Registration] = ()
    jobs: Sequence[Job] = ()
    events: Sequence[Consumer] = ()
    checks: Mapping[str, Check] = field(default_factory=dict)
    wants: Mapping[str, Check] = field(default_factory=dict)
    surfaces: Sequence[Surface] = ()
    finished: Callable[[], Awaitable[None]] | None = None
