"""Starts parts in the order of their needs, keeps them running, and stops each before those that outlive it."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import structlog

from cli.parts.log import PartLog
from cli.parts.part import Part
from cli.runner import Runner
from cli.status import PartStatus, State
from services.mesh.call.errors import InvalidArgument
from services.mesh.process.jobs import Job, run_job

log = structlog.get_logger("control")

ROTATE_SECONDS = 5.0


class Supervisor:
    """Runs `parts` from `start` to `stop`; `on_change` is called after every change of a part's status.

    An exception of `on_change` is logged and does not stop the supervision of the parts. Logs go to `logs/NAME.log`.
    Parts that do not need each other start and stop at the same time.
    """

    def __init__(self, parts: Sequence[Part], logs: Path, on_change: Callable[[], None] = lambda: None) -> None:
        self._folder = logs
        self._logs = {part.name: PartLog(logs / f"{part.name}.log") for part in parts}
        self._runners = {part.name: Runner(part, self._logs[part.name], self.tell) for part in parts}
        for runner in self._runners.values():
            runner.needs = [self._runners[name] for name in runner.part.after]
        for runner in self._runners.values():
            runner.outlives = [
                other
                for other in self._runners.values()
                if runner in other.needs or runner.part.name in other.part.outlived_by
            ]
        self._on_change = on_change
        self._tasks: list[asyncio.Task[None]] = []
        self._beside = AsyncExitStack()

    @property
    def statuses(self) -> tuple[PartStatus, ...]:
        """The status of every part, in the given order."""
        return tuple(runner.status for runner in self._runners.values())

    def tell(self) -> None:
        """Call `on_change`; log its exception."""
        try:
            self._on_change()
        except Exception:
            log.exception("on_change failed")

    async def start(self) -> None:
        """Start all parts, and return when every part is ready that is not optional.

        Raises:
            MeshError: a part cannot be started. The others still run, and `stop` ends them.
        """
        run_job(self._beside, "control", Job("rotate", self._rotate, every=ROTATE_SECONDS, first=ROTATE_SECONDS))
        for runner in self._runners.values():
            task = asyncio.create_task(runner.run(), name=f"part {runner.part.name}")
            task.add_done_callback(runner.ended)
            self._tasks.append(task)
        needed = [runner for runner in self._runners.values() if not runner.part.optional]
        await asyncio.gather(*(asyncio.shield(runner.ready) for runner in needed))

    async def stop(self) -> None:
        """Stop every part, each before the parts that it needs; return when no process is left.

        Raises:
            Exception: stopping a part failed; it is the first error, raised when all parts are stopped.
        """
        stopped = await asyncio.gather(*(runner.stop() for runner in self._runners.values()), return_exceptions=True)
        await self._beside.aclose()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for error in stopped:
            if error is not None:
                raise error

    async def restart(self, names: Sequence[str]) -> None:
        """Restart parts one after the other; without names, all parts that can be replaced without an interruption.

        Raises:
            InvalidArgument: there is no such part.
            FailedPrecondition: a part has no process to restart, or is not ready.
            Unavailable: a part did not become ready again; the parts after it were not restarted.
        """
        for name in names:
            if name not in self._runners:
                raise InvalidArgument(f"there is no part {name!r}; there are {', '.join(self._runners)}")
        for name in names or [name for name, runner in self._runners.items() if runner.part.replaceable]:
            runner = self._runners[name]
            await (runner.replace() if runner.part.replaceable else runner.restart())

    def failure(self, lines: int = 20) -> tuple[PartStatus, list[str]] | None:
        """The failed part and the last lines of its log; None when no part failed."""
        for status in self.statuses:
            if status.state is State.FAILED:
                return status, self._logs[status.name].tail(lines)
        return None

    async def _rotate(self) -> None:
        faults: list[OSError] = []
        # This includes Envoy's access log, which is not the output of a part, but grows too.
        for path in self._folder.glob("*.log"):
            try:
                PartLog(path).rotate()
            except OSError as error:
                faults.append(error)
        if faults:
            # Raised only after all other logs were rotated.
            raise faults[0]
