"""The life of one part: wait for what it needs, start, become ready, be watched, restart, stop."""

import asyncio
import os
from collections.abc import Callable
from time import monotonic

from cli.backoff import Backoff
from cli.parts.log import PartLog
from cli.parts.part import Part
from cli.parts.process import Process, describe_exit
from cli.status import PartStatus, State
from services.mesh.errors import MeshError, Unavailable

# How often a starting part is asked whether it serves, and a ready one whether it still does.
STARTING_SECONDS = 0.03
READY_SECONDS = 5.0
# A part that has never been ready is given up after this many ends.
FIRST_ATTEMPTS = 3


class Runner:
    """Keeps one part running; `ready` is done when it was ready for the first time, or holds why it cannot be."""

    def __init__(self, part: Part, log: PartLog, on_change: Callable[[], None]) -> None:
        self.part = part
        self.needs: list[Runner] = []
        self.needed_by: list[Runner] = []
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._log = log
        self._on_change = on_change
        self._state = State.WAITING
        self._reason: str | None = None
        self._restarts = 0
        self._process: Process | None = None
        self._task: asyncio.Task[None] | None = None
        self.stopped = asyncio.Event()

    @property
    def status(self) -> PartStatus:
        """The part now."""
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

    async def run(self) -> None:
        """Run the part until `stop`; return early when it cannot be started at all."""
        self._task = asyncio.current_task()
        await asyncio.gather(*(asyncio.shield(need.ready) for need in self.needs))
        backoff = Backoff()
        while True:
            try:
                ready_for, reason = await self._live()
            except (MeshError, OSError) as error:
                if not self.ready.done():
                    raise
                ready_for, reason = 0.0, str(error)
            backoff = backoff.failed(ready_for)
            if not self.ready.done() and backoff.failures >= FIRST_ATTEMPTS:
                raise Unavailable(f"{self.part.name} {reason}", reason="PART_FAILED")
            self._restarts += 1
            self._become(State.RESTARTING, reason)
            await asyncio.sleep(backoff.delay)

    def ended(self, task: asyncio.Task[None]) -> None:
        """Take notice of the end of `run`: a part that will never be ready says why."""
        error = None if task.cancelled() else task.exception()
        if error is not None and not self.ready.done():
            waited_in_vain = self._state is State.WAITING
            self.ready.set_exception(error)
            if not waited_in_vain:
                self._become(State.FAILED, str(error))

    async def stop(self) -> None:
        """Stop the part once everything that needs it has stopped."""
        await asyncio.gather(*(other.stopped.wait() for other in self.needed_by))
        failed = self._state is State.FAILED
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        if self._process is not None:
            self._become(State.STOPPING)
            await self._process.stop(self.part.stop_signal, self.part.grace)
            self._process = None
        await self.part.close()
        if not failed:
            self._become(State.STOPPED)
        self.stopped.set()

    async def _live(self) -> tuple[float, str]:
        """Start the part and watch it to its end: for how many seconds it had been ready, and how it ended."""
        self._become(State.STARTING, self._reason)
        launch = await self.part.launch()
        if launch is None:
            return await self._watch(asyncio.get_running_loop().create_future())
        output = self._log.open()
        try:
            self._process = await Process.start(launch, output)
        finally:
            os.close(output)
        self._on_change()
        end = asyncio.create_task(self._process.wait())
        try:
            return await self._watch(end)
        except MeshError:
            await self._process.stop(self.part.stop_signal, self.part.grace)
            raise
        finally:
            end.cancel()
            if end.done() and not end.cancelled():
                self._process = None

    async def _watch(self, end: asyncio.Future[int]) -> tuple[float, str]:
        started, ready_at = monotonic(), None
        while not end.done():
            try:
                await self.part.probe(self._process.pid if self._process is not None else None)
            except (MeshError, OSError) as error:
                if ready_at is not None and not end.done():
                    self._become(State.UNHEALTHY, str(error))
                elif not self.ready.done() and monotonic() - started > self.part.patience:
                    raise Unavailable(
                        f"{self.part.name} is not ready after {self.part.patience:g} s: {error}", reason="PART_FAILED"
                    ) from error
            else:
                ready_at = ready_at or monotonic()
                if not end.done():
                    self._become(State.READY)
                    if not self.ready.done():
                        self.ready.set_result(None)
            await asyncio.wait({end}, timeout=STARTING_SECONDS if ready_at is None else READY_SECONDS)
        return (0.0 if ready_at is None else monotonic() - ready_at), describe_exit(end.result())

    def _become(self, state: State, reason: str | None = None) -> None:
        if (state, reason) != (self._state, self._reason):
            self._state, self._reason = state, reason
            self._on_change()
