"""One call on a local channel: the state that its caller and its servicer share, and how it ends."""

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import Context
from time import monotonic
from typing import Any, Protocol

import grpc
import structlog

from services.mesh.call.boundary import Boundary
from services.mesh.transport.local.crossing import Crossing, Oversize, bounded
from services.mesh.transport.local.deadlines import Deadline, Deadlines
from services.mesh.transport.local.outcome import CANCELLED, DROPPED, EXPIRED, OK, Outcome, Pairs, failure
from services.mesh.transport.local.pipe import Pipe

_log = structlog.get_logger(__name__)


class Shared(Protocol):
    """The state that all calls of a channel share."""

    loop: asyncio.AbstractEventLoop
    deadlines: Deadlines
    exchanges: set["Exchange"]
    strict: bool


class Caller(Protocol):
    """The caller's half, whose `ended` is called when the call has ended."""

    def ended(self) -> None: ...


class Exchange:
    """A call in progress.

    It ends for its caller when `outcome` is set, which happens once: by `conclude` when the servicer has ended and
    every buffered response was read, or by `interrupt` when the caller cancelled or the deadline passed. The servicer's
    task may run on while it cleans up. The exchange has a weak reference to the caller's half of a stream, so that an
    abandoned one is garbage-collected and can cancel the call.
    """

    __slots__ = (
        "_boundary",
        "_channel",
        "_deadline",
        "_pending",
        "_respond",
        "_task",
        "_waiters",
        "callee_done",
        "caller",
        "carried",
        "code",
        "details",
        "fault",
        "initial",
        "loop",
        "metadata",
        "method",
        "outcome",
        "requests",
        "response",
        "responses",
        "trailing",
        "upload",
    )

    def __init__(
        self,
        channel: Shared,
        method: str,
        metadata: Pairs,
        carried: object,
        respond: Crossing,
        boundary: Boundary,
    ) -> None:
        self._channel = channel
        self._boundary = boundary
        self.loop = channel.loop
        self.method = method
        self.metadata = metadata
        self.carried = carried
        # Set by the servicer: its initial metadata (None until sent), and how it wants the call to end.
        self.initial: Pairs | None = None
        self.trailing: Pairs = ()
        self.code: grpc.StatusCode | None = None
        self.details = ""
        # How the call ended for the caller; an exception of the caller's request iterator takes precedence.
        self.outcome: Outcome | None = None
        self.fault: BaseException | None = None
        self.response: Any = None
        self.requests: Pipe | None = None
        self.responses: Pipe | None = None
        self.upload: asyncio.Task[None] | None = None
        self.caller: Callable[[], Caller | None] | None = None
        self.callee_done: list[Callable[[], None]] | None = None
        self._respond = respond
        self._pending: Outcome | None = None
        self._task: asyncio.Task[Any] | None = None
        self._deadline: Deadline | None = None
        self._waiters: list[asyncio.Future[None]] = []

    def expire_in(self, timeout: float) -> None:
        """Give the call `timeout` seconds; with 0 or less it has expired, and no servicer gets it."""
        if timeout <= 0:
            self.outcome = EXPIRED
        else:
            self._deadline = self._channel.deadlines.add(monotonic() + timeout, self._expire)

    def start(self, servicer: Coroutine[Any, Any, Any]) -> None:
        """Run the servicer as a task in an empty context: it sees none of the caller's context variables."""
        context = Context()
        self._channel.exchanges.add(self)
        self._task = task = self.loop.create_task(servicer, context=context)
        # A `finally` in the task would not do: a task that is cancelled before its first step never enters its body.
        task.add_done_callback(self._servicer_ended, context=context)

    def serve(self, at_once: Callable[[Any, Any], Any], request: Any, context: Any) -> None:
        """Run a servicer that does not wait, here and now and in an empty context; the call has ended then."""
        try:
            response = Context().run(at_once, request, context)
        except Exception as error:
            self._fail(error)
        else:
            self.complete(response)
        self._tell_callee()

    @property
    def serving(self) -> asyncio.Task[Any] | None:
        """The servicer's task while it runs."""
        return self._task

    @property
    def interrupted(self) -> bool:
        """Whether the call ended for its caller before the servicer ended it."""
        return self.outcome is not None and self._pending is None

    @property
    def finished(self) -> bool:
        """Whether the call has ended, or will end once its caller has read the buffered responses."""
        return self.outcome is not None or self._pending is not None

    @property
    def half_closed(self) -> bool:
        """Whether the caller has said that it sends no further request."""
        return self.requests is not None and self.requests.closed

    def half_close(self) -> None:
        """Note that the caller sends no further request."""
        if self.requests is not None:
            self.requests.close()

    def remaining(self) -> float | None:
        """Seconds left, never below 0; None without a deadline."""
        return None if self._deadline is None else max(0.0, self._deadline.when - monotonic())

    def open(self, initial: Pairs) -> None:
        """Send the servicer's initial metadata."""
        self.initial = initial
        self._wake()

    def respond(self, message: Any) -> bool:
        """Send one message of a response stream; True asks the servicer to await `responses.room()`.

        Raises:
            asyncio.CancelledError: the caller is gone.
        """
        if self.interrupted:
            raise asyncio.CancelledError
        if self.initial is None:
            self.open(())
        assert self.responses is not None
        try:
            return self.responses.push(self._respond(message))
        except Oversize as oversize:
            # The exception is raised here: to cancel the task would interrupt the servicer's clean-up as well.
            self._end(oversize.outcome())
            raise asyncio.CancelledError from None

    def take(self) -> Any:
        """Take one buffered response; the last one may end the call."""
        assert self.responses is not None
        message = self.responses.pop()
        if self._pending is not None and not self.responses.messages:
            self._end(self._pending)
        return message

    def conclude(self, outcome: Outcome) -> None:
        """End the call for the servicer; the caller gets the outcome after the responses already sent."""
        if self.outcome is not None or self._pending is not None:
            return
        if self._channel.strict:
            outcome = bounded(outcome)
        self._pending = outcome
        if self.responses is None or not self.responses.messages:
            self._end(outcome)
            return
        self.responses.close()
        self.half_close()

    def interrupt(self, outcome: Outcome) -> bool:
        """End the call for the caller and cancel the servicer; False when the call had ended before."""
        if self.outcome is not None:
            return False
        self._pending = None
        self._end(outcome)
        if self._task is not None:
            self._task.cancel()
        return True

    def raise_for_outcome(self) -> None:
        """Raise the exception for the caller of an ended call; return if it ended well."""
        outcome = self.outcome
        assert outcome is not None
        if self.fault is not None:
            raise self.fault
        if outcome is CANCELLED or outcome is DROPPED:
            raise asyncio.CancelledError
        if outcome.code is not grpc.StatusCode.OK:
            raise self._boundary.translated(outcome.error(self.initial or ()))

    def waiter(self) -> asyncio.Future[None]:
        """A future that is done at the next change a caller may wait for: initial metadata, or the end."""
        waiter: asyncio.Future[None] = self.loop.create_future()
        self._waiters.append(waiter)
        return waiter

    async def change(self) -> None:
        """Wait for such a change."""
        waiter = self.waiter()
        try:
            await waiter
        finally:
            if waiter in self._waiters:
                self._waiters.remove(waiter)

    async def ended(self) -> Outcome:
        """Wait for the end."""
        while self.outcome is None:
            await self.change()
        return self.outcome

    def _expire(self) -> None:
        self.interrupt(EXPIRED)

    def _end(self, outcome: Outcome) -> None:
        self.outcome = outcome
        if self._deadline is not None:
            self._channel.deadlines.cancel(self._deadline)
        if self._waiters:
            self._wake()
        for pipe in (self.responses, self.requests):
            if pipe is not None:
                pipe.close()
                if self._pending is None:
                    pipe.messages.clear()
        if self.upload is not None:
            self.upload.cancel()
            self.upload = None
        if self.caller is not None and (caller := self.caller()) is not None:
            caller.ended()
        if self._task is None:
            self._channel.exchanges.discard(self)

    def _wake(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._waiters.clear()

    def _servicer_ended(self, task: asyncio.Task[Any]) -> None:
        self._task = None
        if task.cancelled():
            self.conclude(failure(grpc.StatusCode.CANCELLED, "The servicer was cancelled."))
        elif (error := task.exception()) is None:
            self.complete(task.result())
        elif not isinstance(error, grpc.aio.AbortError):
            self._fail(error)
        self._tell_callee()
        if self.outcome is not None:
            self._channel.exchanges.discard(self)

    def _tell_callee(self) -> None:
        for callback in self.callee_done or ():
            callback()

    def complete(self, response: Any = None) -> None:
        """End a call whose servicer raised no exception; `response` is its one response, if the call has one."""
        if self.outcome is not None or self._pending is not None:
            return
        if self.code is not None and self.code is not grpc.StatusCode.OK:
            self.conclude(failure(self.code, self.details, self.trailing))
            return
        if self.responses is None:
            try:
                self.response = self._respond(response)
            except Oversize as oversize:
                self.conclude(oversize.outcome())
                return
            except Exception as error:
                self._fail(error)
                return
        self.conclude(
            Outcome(grpc.StatusCode.OK, self.details, self.trailing, "") if self.trailing or self.details else OK
        )

    def _fail(self, error: BaseException) -> None:
        """End the call as gRPC's own server does when a servicer raises an exception, and log it."""
        _log.error("servicer raised", method=self.method, exc_info=error)
        code = self.code or grpc.StatusCode.UNKNOWN
        self.conclude(failure(code, f"Unexpected {type(error)}: {error}", self.trailing))
