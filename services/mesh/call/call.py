"""The call being served, as the code that serves it can see it.

The pipeline makes a `Call` for each RPC and sets it in the context of the servicer's task; whatever that task calls
next inherits its principal, its remaining time and its trace.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeAlias

from services.mesh.call import errors
from services.mesh.call.principal import Principal
from services.mesh.call.trace import Trace

if TYPE_CHECKING:
    import grpc
    from opentelemetry.trace import Span

    from services.mesh.call.authenticator import Spent
    from services.mesh.call.barrier import Barrier
    from services.mesh.call.method import Method


Pairs: TypeAlias = Iterable[tuple[str, str | bytes]]


class Call:
    """One call in progress.

    Attributes:
        method: the RPC; None for other work (an HTTP request, a background task).
        context: the servicer context while interceptors look at the call; None once the servicer runs.
        local: whether the call came from inside this process.
        caller: the call that made this one, if this process serves that too; None once the servicer runs.
        inside: whether the calls that it makes are work of the mesh for a caller whose right was checked: so it is in a
            servicer. Otherwise it is where somebody comes in, and each call is checked against the scopes.
        spent: what its caller has left of a rate limit; None for a caller without one, or from inside.
        principal: who the call runs as; None until it is authenticated, and in calls a process makes for itself.
        deadline: in seconds of the monotonic clock, which is the event loop's; None without one.
        trace: its trace id and span id.
        span: the recorded span, when the trace is sampled.
        started: when the call came in, by the monotonic clock. uvloop's own time is in whole milliseconds.
        draining: whether the process ends the call because it stops.
        endless: whether the servicer has said that the call never ends by itself.
        compressed: whether the response is to be compressed.
        barrier: what the answer waits for where it leaves the process; None if this process keeps the answer.
        ends: when this process ends the stream, before its deadline, by the monotonic clock; None leaves the end to
            the client.
    """

    __slots__ = (
        *("_metadata", "barrier", "caller", "compressed", "context", "deadline", "draining", "endless", "ends"),
        *("inside", "local", "method", "principal", "span", "spent", "started", "trace"),
    )

    def __init__(
        self,
        method: "Method | None" = None,
        context: "grpc.aio.ServicerContext[object, object] | None" = None,
        *,
        started: float,
        local: bool = False,
        caller: "Call | None" = None,
    ) -> None:
        self.method = method
        self.context = context
        self.local = local
        self.caller = caller
        self.inside = method is not None
        self.started = started
        self.principal: Principal | None = None
        self.spent: Spent | None = None
        self.deadline: float | None = None
        self.trace: Trace | None = None
        self.span: Span | None = None
        self.draining = False
        self.endless = False
        self.compressed = False
        self.barrier: Barrier | None = caller.barrier if caller is not None else None
        self.ends: float | None = None
        self._metadata: Mapping[str, str | bytes] | None = None

    @property
    def metadata(self) -> Mapping[str, str | bytes]:
        """The metadata of the call, for interceptors; of a key that came twice the last value.

        gRPC makes the pairs again each time it is asked, which takes longer than all other work with them. It made
        them once to find the handler, so those are used.
        """
        if self._metadata is None:
            assert self.context is not None
            pairs = arrived.get()
            self._metadata = dict(pairs if pairs is not None else self.context.invocation_metadata() or ())
        return self._metadata

    def begin(self) -> None:
        """Forget the context: background work may keep the call for longer, when to use the context crashes gRPC."""
        self.context = self._metadata = self.caller = None

    def remaining(self) -> float | None:
        """Seconds left, never below 0; None without a deadline."""
        if self.deadline is None:
            return None
        return max(0.0, self.deadline - monotonic())

    @property
    def trace_id(self) -> str:
        """The trace id in hex; empty outside a trace."""
        return self.trace.hex_id if self.trace is not None else ""


class InProcess:
    """Base of servicer contexts of calls from inside the process; `carried` is the call that the caller serves."""

    __slots__ = ()

    @property
    def carried(self) -> Any:
        """The call that made this one; None for one that was made outside any call."""
        raise NotImplementedError


current: ContextVar[Call | None] = ContextVar("soma_current_call", default=None)
arrived: ContextVar["Pairs | None"] = ContextVar("soma_arrived_metadata", default=None)
"""The metadata of the call that gRPC made the current task for."""


def current_call() -> Call | None:
    """The call this task serves; None in background work."""
    return current.get()


def principal() -> Principal:
    """The principal of the current call.

    Raises:
        Unauthenticated: there is no call, or it has no principal.
    """
    call = current.get()
    if call is None or call.principal is None:
        raise errors.Unauthenticated("this call has no principal")
    return call.principal


def never_ends() -> None:
    """Say that the current call ends only when its client ends it, and that a new call can continue it.

    A process that stops does not wait for such calls.
    """
    call = current.get()
    if call is not None:
        call.endless = True


@contextmanager
def run_as(
    principal: Principal,
    *,
    trace: Trace | None = None,
    timeout: float | None = None,
    barrier: "Barrier | None" = None,
    inside: bool = False,
) -> Iterator[Call]:
    """Run a block as a call of `principal`: calls in it inherit principal, trace and at most `timeout` seconds.

    Who gives a `barrier` waits for it before an answer is sent. `inside` is for work that a service does for a caller
    whose right was checked: what the work calls needs no further scope.
    """
    now = monotonic()
    call = Call(started=now)
    call.principal = principal
    call.trace = trace
    call.deadline = None if timeout is None else now + timeout
    call.barrier = barrier
    call.inside = inside
    token = current.set(call)
    try:
        yield call
    finally:
        current.reset(token)
