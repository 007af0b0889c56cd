"""A part is replaced by a new process, or stopped and started again, while the stack runs."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import psutil
import pytest

from cli.parts.part import Launch
from cli.status import PartStatus, State
from cli.supervisor import Supervisor
from services.mesh.call.errors import FailedPrecondition, InvalidArgument, Unavailable
from services.mesh.testing.waiting import until
from tests.cli.conftest import Supervised
from tests.cli.parts.programs import ENDS_WHEN_ASKED, Script


class Replaceable(Script):
    """Each of its processes makes its own file when it is ready; none becomes ready while `broken`."""

    replaceable = True
    broken = False

    def __init__(self, name: str, folder: Path, before: str = ENDS_WHEN_ASKED) -> None:
        super().__init__(name, folder)
        self._folder = folder
        self._before = before
        self.launches = 0

    async def launch(self) -> Launch:
        self.launches += 1
        lines = [self._before, "import os", f"open({str(self._folder)!r} + f'/{{os.getpid()}}', 'w').close()"]
        if self.broken:
            lines = ["raise SystemExit(3)"]
        return Launch([sys.executable, "-I", "-S", "-c", "\n".join([*lines, "import signal", "signal.pause()"])])

    async def probe(self, pid: int | None) -> None:
        if not (self._folder / str(pid)).exists():
            raise Unavailable(f"{pid} has not made its file")


def status_of(supervisor: Supervisor, name: str = "part") -> PartStatus:
    return next(status for status in supervisor.statuses if status.name == name)


def pid_of(supervisor: Supervisor, name: str = "part") -> int:
    pid = status_of(supervisor, name).pid
    assert pid is not None
    return pid


async def test_the_old_process_ends_after_the_new_one_is_ready(supervised: Supervised, tmp_path: Path) -> None:
    part = Replaceable("part", tmp_path)
    watched: list[Supervisor] = []
    seen: list[tuple[int | None, State]] = []

    def note() -> None:
        seen.extend((status_of(supervisor).pid, status_of(supervisor).state) for supervisor in watched)

    async with supervised(part, on_change=note) as supervisor:
        watched.append(supervisor)
        await supervisor.start()
        old = pid_of(supervisor)
        seen.clear()
        await supervisor.restart(["part"])
        new = pid_of(supervisor)
        assert new != old
        assert not psutil.pid_exists(old)
        assert seen == [(new, State.READY)]
        assert status_of(supervisor).restarts == 0


async def test_a_process_that_has_taken_over_is_watched_like_any_other(supervised: Supervised, tmp_path: Path) -> None:
    async with supervised(Replaceable("part", tmp_path)) as supervisor:
        await supervisor.start()
        await supervisor.restart(["part"])
        taken_over = pid_of(supervisor)
        os.kill(taken_over, signal.SIGKILL)
        await until(lambda: status_of(supervisor).restarts == 1, "its end is noticed")
        await until(lambda: status_of(supervisor).state is State.READY, "it is started again")


async def test_the_old_process_serves_on_when_the_new_one_ends_at_once(supervised: Supervised, tmp_path: Path) -> None:
    part = Replaceable("part", tmp_path)
    async with supervised(part) as supervisor:
        await supervisor.start()
        old = pid_of(supervisor)
        part.broken = True
        with pytest.raises(Unavailable, match="the new part exited with status 3"):
            await supervisor.restart(["part"])
        assert pid_of(supervisor) == old
        assert psutil.pid_exists(old)
        assert status_of(supervisor).state is State.READY


async def test_parts_are_replaced_one_after_the_other_and_all_of_them_by_default(
    supervised: Supervised, tmp_path: Path
) -> None:
    first, second, other = Replaceable("first", tmp_path), Replaceable("second", tmp_path), Script("other", tmp_path)
    async with supervised(first, second, other) as supervisor:
        await supervisor.start()
        before = {name: pid_of(supervisor, name) for name in ("first", "second", "other")}
        await supervisor.restart([])
        after = {name: pid_of(supervisor, name) for name in before}
    assert {name for name in before if before[name] != after[name]} == {"first", "second"}


async def test_a_part_that_cannot_run_twice_is_ended_and_started_again(supervised: Supervised, tmp_path: Path) -> None:
    async with supervised(Script("part", tmp_path)) as supervisor:
        await supervisor.start()
        old = pid_of(supervisor)
        await supervisor.restart(["part"])
        assert pid_of(supervisor) != old
        assert status_of(supervisor).state is State.READY


async def test_an_unknown_part_is_refused_by_name_before_anything_is_restarted(
    supervised: Supervised, tmp_path: Path
) -> None:
    async with supervised(Replaceable("part", tmp_path)) as supervisor:
        await supervisor.start()
        old = pid_of(supervisor)
        with pytest.raises(InvalidArgument, match="'prat'"):
            await supervisor.restart(["part", "prat"])
        assert pid_of(supervisor) == old


async def test_a_part_that_is_not_ready_cannot_be_replaced(supervised: Supervised, tmp_path: Path) -> None:
    async with supervised(Replaceable("part", tmp_path)) as supervisor:
        with pytest.raises(FailedPrecondition, match="part is waiting"):
            await supervisor.restart(["part"])


async def test_a_stop_in_the_middle_of_a_replacement_leaves_no_process(supervised: Supervised, tmp_path: Path) -> None:
    slow = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)"
    part = Replaceable("part", tmp_path, before=slow)
    part.leave_grace, part.grace = 60.0, 0.2
    async with supervised(part) as supervisor:
        await supervisor.start()
        old = pid_of(supervisor)
        restarting = asyncio.create_task(supervisor.restart(["part"]))
        await until(lambda: pid_of(supervisor) != old, "the new process has taken over")
        new = pid_of(supervisor)
        async with asyncio.timeout(10):
            await supervisor.stop()
        assert not psutil.pid_exists(old)
        assert not psutil.pid_exists(new)
        with pytest.raises(asyncio.CancelledError):
            await restarting
