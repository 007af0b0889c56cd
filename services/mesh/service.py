"""A built service: servicers, jobs, consumers of events, and the checks that say whether it can work now."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc

from services.mesh.events.consumer import Consumer
from services.mesh.process.jobs import Job
from services.mesh.surfaces.surface import Surface

Check = Callable[[], Awaitable[None]]
Registration = tuple[Callable[[Any, grpc.aio.Server], None], object]


@dataclass(frozen=True)
class Service:
    """What `build()` of a service returns.

    `servicers` pairs the generated `add_XServicer_to_server` with a servicer. `jobs` are run from the moment its calls
    are served until it stops, before anything it opened is closed. `events` are what it does when others tell of
    something; they are read by jobs like its own. `checks` are by the name of the dependency each
    stands for, and raise when it is down: calls then go to another instance, if there is one. `wants` are the same for
    what the service works without, but for a part of what it offers: it goes on taking calls, and `/ready` says what is
    missing. `surfaces` are what it speaks over HTTP, on a server of its own; the gateway's routes follow from them.
    `finished` returns once the work that no call waits for has ended: a process that stops gives it the time of calls.
    """

    servicers: Sequence[Registration] = ()
    jobs: Sequence[Job] = ()
    events: Sequence[Consumer] = ()
    checks: Mapping[str, Check] = field(default_factory=dict)
    wants: Mapping[str, Check] = field(default_factory=dict)
    surfaces: Sequence[Surface] = ()
    finished: Callable[[], Awaitable[None]] | None = None
