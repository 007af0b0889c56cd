"""Runs one part: waits for the parts it needs, starts it, watches it, restarts or replaces it, and stops it."""

import asyncio
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Any

import structlog

from cli.parts.log import PartLog
from cli.parts.part import Launch, Part
from cli.parts.process import Process, describe_exit
from cli.status import PartStatus, State
from services.mesh.call.errors import FailedPrecondition, InvalidArgument, MeshError, Unavailable
from services.mesh.process.backoff import Backoff

log = structlog.get_logger("control")

# Seconds between two probes of a part that starts, and of a part that is ready.
STARTING_SECONDS = 0.03
READY_SECONDS = 5.0
# A part that was never ready is given up after this many failed starts. Those who wait for a part that sleeps are then
# refused.
FIRST_ATTEMPTS = 3


@dataclass(frozen=True)
class Run:
    """How a process of a part ended: the seconds that it was ready, why, and whether it meant to."""

    ready_for: float
    reason: str
    meant: bool = False


class Runner:
    """Keeps one part running. The future `ready` is done when the part is ready for the first time, or cannot start."""

    def __init__(self, part: Part, log: PartLog, on_change: Callable[[], None]) -> None:
        self.part = part
        self.needs: list[Runner] = []
        self.outlives: list[Runner] = []
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._log = log
        self._on_change = on_change
        self._state = State.WAITING
        self._reason: str | None = None
        self._restarts = 0
        self._process: Process | None = None
        self._end: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._task: asyncio.Task[None] | None = None
        self._replacing: asyncio.Task[Any] | None = None
        self._leaving: set[Process] = set()
        self.stopped = asyncio.Event()

    @property
    def status(self) -> PartStatus:
        """The current status of the part."""
        part = self.part
        pid = self._process.pid if self._process is not None else part.own_pid
        return PartStatus(
            part.name,
            self._state,
            pid,
            part.port,
            part.version,
            part.where,
            part.external,
            self._restarts,
            self._reason,
        )

    @property
    def _lasting(self) -> bool:
        """Whether the part is started again after every failure."""
        return self.part.optional or self.ready.done()

    async def run(self) -> None:
        """Run the part until `stop`; end early if its first start fails.

        After it was ready once, or if it is optional, no error ends this: the part is always started again.

        Raises:
            MeshError: the part cannot be started.
        """
        self._task = asyncio.current_task()
        await asyncio.gather(*(asyncio.shield(need.ready) for need in self.needs))
        backoff = Backoff()
        while True:
            if self.part.sleeps:
                await self._sleep()
            try:
                run = await self._run_once()
            except Exception as error:
                if not self._lasting:
                    raise _refusal(self.part.name, error) from error
                run = Run(0.0, describe(error))
                if run.reason != self._reason:
                    log.error("part not started, tried again", part=self.part.name, error=run.reason, exc_info=error)
            if run.meant and self.part.sleeps:
                backoff, self._reason = Backoff(), None
                continue
            backoff = backoff.failed(run.ready_for)
            if backoff.failures >= FIRST_ATTEMPTS:
                if not self._lasting:
                    raise Unavailable(f"{self.part.name} {run.reason}", reason="PART_FAILED")
                self.part.refuse(run.reason)
            self._restarts += 1
            self._set_state(State.RESTARTING, run.reason)
            await asyncio.sleep(backoff.delay)

    async def _sleep(self) -> None:
        """Return when somebody uses the part. Why its process failed stays in its status."""
        self._set_state(State.IDLE, self._reason)
        if not self.ready.done():
            self.ready.set_result(None)
        await self.part.asked()

    def ended(self, task: asyncio.Task[None]) -> None:
        """Handle the end of `run`: if the part was never ready, `ready` gets the error."""
        error = None if task.cancelled() else task.exception()
        if error is not None and not self.ready.done():
            waited_in_vain = self._state is State.WAITING
            self.ready.set_exception(error)
            if not waited_in_vain:
                self._set_state(State.FAILED, str(error))

    async def stop(self) -> None:
        """Stop the part when all parts that need it have stopped."""
        await asyncio.gather(*(other.stopped.wait() for other in self.outlives))
        failed = self._state is State.FAILED
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        if self._replacing is not None:
            self._replacing.cancel()
            await asyncio.wait({self._replacing})
        try:
            await self._end_processes()
        finally:
            # The parts that this one needs wait for it, also when its stop failed.
            self.stopped.set()
        if not failed:
            self._set_state(State.STOPPED)

    async def _end_processes(self) -> None:
        await asyncio.gather(*(p.stop(self.part.stop_signal, self.part.grace) for p in list(self._leaving)))
        if self._process is not None:
            self._set_state(State.STOPPING)
            await self._process.stop(self.part.stop_signal, self.part.grace)
            self._process = None
        await self.part.close()

    async def replace(self) -> None:
        """Replace the process by a new one without an interruption.

        When the new process is ready, the old one is told to end. It has drained when this returns.

        Raises:
            FailedPrecondition: the part cannot be replaced, or is not ready now.
            Unavailable: the new process did not become ready; the old one continues.
        """
        old = self._process
        if not self.part.replaceable or old is None or self._state is not State.READY:
            raise FailedPrecondition(f"{self.part.name} is {self._state}; only a ready process can be replaced")
        self._replacing = asyncio.current_task()
        launch = await self.part.launch()
        assert launch is not None
        new = surplus = await self._start(launch)
        end = asyncio.create_task(new.wait())
        try:
            await self._until_ready(new, end)
            # If they differ, the old process ended in the meantime, and another one was started.
            if self._process is old:
                watched, self._end, self._process, surplus = self._end, end, new, old
                watched.cancel()
                self._on_change()
        finally:
            if surplus is new:
                end.cancel()
            await self._ending(surplus, self.part.leave_signal, self.part.leave_grace)
            self._replacing = None

    async def restart(self) -> None:
        """End the process, so that it is started again, and return when the part is ready.

        Raises:
            FailedPrecondition: the part has no process, for example because nobody uses it.
            Unavailable: the part is not ready within its `patience`.
        """
        old = self._process
        if old is None:
            if self._state is State.IDLE:
                raise FailedPrecondition(f"{self.part.name} is idle: it has no process until somebody uses it")
            raise FailedPrecondition(f"{self.part.name} has no process of its own that could be restarted")
        await self._ending(old, self.part.stop_signal, self.part.grace)
        deadline = monotonic() + self.part.patience
        while self._process in (None, old) or self._state is not State.READY:
            if self._state is State.IDLE:
                return
            if monotonic() > deadline:
                raise Unavailable(f"{self.part.name} is {self._state}: {self._reason}", reason="PART_FAILED")
            await asyncio.sleep(STARTING_SECONDS)

    async def _ending(self, process: Process, stop_signal: signal.Signals, grace: float) -> None:
        self._leaving.add(process)
        try:
            await process.stop(stop_signal, grace)
        finally:
            if process.ended:
                self._leaving.discard(process)

    async def _start(self, launch: Launch) -> Process:
        output = self._log.open()
        try:
            return await Process.start(launch, output)
        finally:
            os.close(output)

    async def _until_ready(self, process: Process, end: "asyncio.Task[int]") -> None:
        deadline = monotonic() + self.part.patience
        while not end.done():
            try:
                return await self.part.probe(process.pid)
            except Exception as error:
                if monotonic() > deadline:
                    why = f"the new {self.part.name} is not ready after {self.part.patience:g} s: {describe(error)}"
                    raise Unavailable(why, reason="PART_FAILED") from error
            await asyncio.wait({end}, timeout=STARTING_SECONDS)
        raise Unavailable(f"the new {self.part.name} {describe_exit(end.result())}", reason="PART_FAILED")

    async def _run_once(self) -> Run:
        """Start the part and watch it until it ends."""
        self._set_state(State.STARTING, self._reason)
        launch = await self.part.launch()
        if launch is None:
            self._end = asyncio.get_running_loop().create_future()
            return await self._watch()
        self._process = await self._start(launch)
        self._on_change()
        self._end = asyncio.create_task(self._process.wait())
        try:
            return await self._watch()
        except Exception:
            await self._process.stop(self.part.stop_signal, self.part.grace)
            self._process = None
            raise
        finally:
            self._end.cancel()
            if self._end.done() and not self._end.cancelled():
                self._process = None

    async def _watch(self) -> Run:
        started, ready_at = monotonic(), None
        while not self._end.done():
            process = self._process
            try:
                await self.part.probe(process.pid if process is not None else None)
            except Exception as error:
                if process is not self._process:
                    continue
                if not self.ready.done() and isinstance(error, (FailedPrecondition, InvalidArgument)):
                    raise
                if ready_at is not None and not self._end.done():
                    self._set_state(State.UNHEALTHY, describe(error))
                elif not self.ready.done() and monotonic() - started > self.part.patience:
                    raise Unavailable(
                        f"{self.part.name} is not ready after {self.part.patience:g} s: {describe(error)}",
                        reason="PART_FAILED",
                    ) from error
            else:
                ready_at = ready_at or monotonic()
                if not self._end.done():
                    self._set_state(State.READY)
                    if not self.ready.done():
                        self.ready.set_result(None)
            # A replacement changes `_end` and cancels the old wait, which wakes this loop.
            await asyncio.wait({self._end}, timeout=STARTING_SECONDS if ready_at is None else READY_SECONDS)
        status = self._end.result()
        return Run(0.0 if ready_at is None else monotonic() - ready_at, describe_exit(status), meant=status == 0)

    def _set_state(self, state: State, reason: str | None = None) -> None:
        if (state, reason) != (self._state, self._reason):
            self._state, self._reason = state, reason
            self._on_change()


def describe(error: Exception) -> str:
    """The text of an error, or its type if it has no text."""
    return str(error) or type(error).__name__


def _refusal(name: str, error: Exception) -> MeshError:
    if isinstance(error, MeshError):
        return error
    return Unavailable(f"{name} cannot be started: {describe(error)}", reason="PART_FAILED")
