"""Rules for every part: the order of start and stop, restarts, and failures."""

import asyncio
import os
import shutil
import signal
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import psutil
import pytest

from cli.data_dir import DataDir
from cli.parts.part import Launch
from cli.parts.process import describe_exit
from cli.status import PartStatus, State
from cli.supervisor import Supervisor
from services.mesh.call.errors import FailedPrecondition, Unavailable
from services.mesh.process.backoff import FIRST
from services.mesh.testing.waiting import until
from tests.cli.conftest import Supervised
from tests.cli.parts.programs import REFUSES_TO_END, Exiting, Script


def status_of(supervisor: Supervisor, name: str) -> PartStatus:
    return next(status for status in supervisor.statuses if status.name == name)


class Recorder:
    """Records the order in which parts reach their states."""

    def __init__(self) -> None:
        self.supervisor: Supervisor | None = None
        self.seen: list[tuple[str, State]] = []

    def __call__(self) -> None:
        assert self.supervisor is not None
        for status in self.supervisor.statuses:
            if (status.name, status.state) not in self.seen:
                self.seen.append((status.name, status.state))

    def position(self, name: str, state: State) -> int:
        return self.seen.index((name, state))


async def test_a_part_starts_when_what_it_needs_is_ready_and_stops_before_it(
    supervised: Supervised, tmp_path: Path
) -> None:
    recorder = Recorder()
    base, middle = Script("base", tmp_path), Script("middle", tmp_path, after=["base"])
    top = Script("top", tmp_path, after=["middle", "base"])
    async with supervised(top, middle, base, on_change=recorder) as supervisor:
        recorder.supervisor = supervisor
        await supervisor.start()
    at = recorder.position
    assert at("base", State.READY) < at("middle", State.STARTING)
    assert at("middle", State.READY) < at("top", State.STARTING)
    assert at("top", State.STOPPED) < at("middle", State.STOPPING)
    assert at("middle", State.STOPPED) < at("base", State.STOPPING)
    assert base.closed
    assert middle.closed
    assert top.closed


async def test_a_part_stops_before_those_that_outlive_it_and_does_not_wait_for_them_to_start(
    supervised: Supervised, tmp_path: Path
) -> None:
    recorder = Recorder()
    slow, quick = Script("slow", tmp_path, after=["base"]), Script("quick", tmp_path)
    quick.outlived_by = ("slow",)
    async with supervised(quick, slow, Script("base", tmp_path), on_change=recorder) as supervisor:
        recorder.supervisor = supervisor
        await supervisor.start()
    at = recorder.position
    assert at("quick", State.STARTING) < at("slow", State.STARTING)
    assert at("quick", State.STOPPED) < at("slow", State.STOPPING)


async def test_a_killed_part_is_started_again_after_the_first_delay(supervised: Supervised, tmp_path: Path) -> None:
    async with supervised(Script("part", tmp_path)) as supervisor:
        await supervisor.start()
        first = status_of(supervisor, "part")
        assert first.pid is not None
        os.kill(first.pid, signal.SIGKILL)
        await until(lambda: status_of(supervisor, "part").state is State.RESTARTING, "the end is noticed")
        noticed = status_of(supervisor, "part")
        assert noticed.reason == "was killed by SIGKILL"
        assert noticed.pid is None
        await until(lambda: status_of(supervisor, "part").state is State.READY, "it is ready again")
        again = status_of(supervisor, "part")
        assert again.restarts == 1
        assert again.reason is None
        assert again.pid is not None
        assert psutil.Process(again.pid).create_time() - psutil.Process().create_time() > 0
        assert again.pid != first.pid


async def test_the_delay_grows_each_time_a_part_ends(supervised: Supervised, tmp_path: Path) -> None:
    started: list[float] = []
    async with supervised(Script("part", tmp_path)) as supervisor:
        await supervisor.start()
        for restarts in range(3):
            pid = status_of(supervisor, "part").pid
            assert pid is not None
            started.append(psutil.Process(pid).create_time())
            os.kill(pid, signal.SIGKILL)
            await until(
                lambda wanted=restarts + 1: (  # type: ignore[misc]
                    status_of(supervisor, "part").restarts == wanted
                    and status_of(supervisor, "part").state is State.READY
                ),
                "it is ready again",
            )
        pid = status_of(supervisor, "part").pid
        assert pid is not None
        started.append(psutil.Process(pid).create_time())
    # Start times of processes are in hundredths of a second.
    waits = [later - earlier for earlier, later in pairwise(started)]
    assert [wait >= FIRST * 2**number - 0.02 for number, wait in enumerate(waits)] == [True, True, True]


async def test_a_part_that_ends_before_it_is_ready_fails_the_start_with_its_last_lines(
    supervised: Supervised, tmp_path: Path
) -> None:
    async with supervised(
        Script("good", tmp_path), Exiting("bad"), Script("late", tmp_path, after=["bad"])
    ) as supervisor:
        with pytest.raises(Unavailable, match="bad exited with status 7"):
            await supervisor.start()
        failed = supervisor.failure()
        assert failed is not None
        status, log = failed
        assert status.name == "bad"
        assert log[-1] == "the disk is on fire"
        assert status_of(supervisor, "late").state is State.WAITING
    assert status_of(supervisor, "bad").state is State.FAILED
    assert status_of(supervisor, "good").state is State.STOPPED


async def test_a_part_that_is_not_ready_in_its_time_is_stopped_and_fails_the_start(
    supervised: Supervised, tmp_path: Path
) -> None:
    part = Script(
        "part", tmp_path / "missing" / "folder", "import signal, sys; sys.excepthook = lambda *_: signal.pause()"
    )
    part.patience = 0.3
    async with supervised(part) as supervisor:
        with pytest.raises(Unavailable, match=r"part is not ready after 0\.3 s: part has not made its file"):
            await supervisor.start()
        assert status_of(supervisor, "part").pid is None


async def test_a_part_that_cannot_be_launched_fails_at_once_without_a_retry(
    supervised: Supervised, tmp_path: Path
) -> None:
    class Impossible(Script):
        launches = 0

        async def launch(self) -> None:  # type: ignore[override]
            self.launches += 1
            raise FailedPrecondition("its program is missing", reason="PROGRAM_MISSING")

    part = Impossible("part", tmp_path)
    async with supervised(part) as supervisor:
        with pytest.raises(FailedPrecondition, match="its program is missing"):
            await supervisor.start()
    assert part.launches == 1


async def test_a_part_that_refuses_to_end_is_killed(supervised: Supervised, tmp_path: Path) -> None:
    part = Script("part", tmp_path, REFUSES_TO_END)
    part.grace = 0.2
    async with supervised(part) as supervisor:
        await supervisor.start()
        pid = status_of(supervisor, "part").pid
        assert pid is not None
    assert not psutil.pid_exists(pid)
    assert status_of(supervisor, "part").state is State.STOPPED


async def test_a_stop_in_the_middle_of_the_start_leaves_nothing(supervised: Supervised, tmp_path: Path) -> None:
    part = Script(
        "part", tmp_path / "missing" / "folder", "import signal, sys; sys.excepthook = lambda *_: signal.pause()"
    )
    async with supervised(part) as supervisor:
        starting = asyncio.create_task(supervisor.start())
        await until(lambda: status_of(supervisor, "part").pid is not None, "its process runs")
        pid = status_of(supervisor, "part").pid
        starting.cancel()
    assert pid is not None
    assert not psutil.pid_exists(pid)


class Failing(Script):
    """Raises a given error when it is launched or probed."""

    launching: Exception | None = None
    probing: Exception | None = None

    async def launch(self) -> Launch:
        if self.launching is not None:
            raise self.launching
        return await super().launch()

    async def probe(self, pid: int | None) -> None:
        if self.probing is not None:
            raise self.probing
        await super().probe(pid)


def kill(supervisor: Supervisor) -> int:
    """Kill the part's process; return its pid."""
    pid = status_of(supervisor, "part").pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    return pid


def lives_again(supervisor: Supervisor, after: int) -> Callable[[], bool]:
    """Whether the part is ready with another process."""
    return lambda: status_of(supervisor, "part").state is State.READY and status_of(supervisor, "part").pid != after


async def test_a_part_is_started_again_although_on_change_fails(supervised: Supervised, tmp_path: Path) -> None:
    trouble: list[Exception] = []

    def refuse() -> None:
        if trouble:
            raise trouble[0]

    async with supervised(Script("part", tmp_path), on_change=refuse) as supervisor:
        await supervisor.start()
        trouble.append(OSError(28, "No space left on device"))
        await until(lives_again(supervisor, kill(supervisor)), "it is ready again")
        trouble[0] = RuntimeError("the terminal has gone")
        await until(lives_again(supervisor, kill(supervisor)), "it is ready again")


@pytest.mark.parametrize("trouble", [OSError(28, "No space left on device"), ValueError("nobody expected this")])
async def test_a_part_that_cannot_be_started_again_is_tried_until_it_can(
    supervised: Supervised, tmp_path: Path, trouble: Exception
) -> None:
    part = Failing("part", tmp_path)
    async with supervised(part) as supervisor:
        await supervisor.start()
        part.launching = trouble
        killed = kill(supervisor)
        await until(lambda: status_of(supervisor, "part").reason == str(trouble), "the reason is shown")
        assert status_of(supervisor, "part").state in (State.RESTARTING, State.STARTING)
        part.launching = None
        await until(lives_again(supervisor, killed), "it is ready again")


async def test_a_part_is_still_watched_after_an_unexpected_error(supervised: Supervised, tmp_path: Path) -> None:
    part = Failing("part", tmp_path)
    async with supervised(part) as supervisor:
        await supervisor.start()
        killed = kill(supervisor)
        part.probing = EOFError("half an answer")
        await until(lambda: status_of(supervisor, "part").pid not in (None, killed), "it is started again")
        part.probing = None
        await until(lives_again(supervisor, killed), "it is ready again")


async def test_a_part_is_started_again_after_its_logs_were_deleted(
    supervised: Supervised, data_dir: DataDir, tmp_path: Path
) -> None:
    async with supervised(Script("part", tmp_path)) as supervisor:
        await supervisor.start()
        shutil.rmtree(data_dir["logs"])
        await until(lives_again(supervisor, kill(supervisor)), "it is ready again")
        assert data_dir.log("part").exists()


async def test_an_error_of_the_first_launch_names_the_part(supervised: Supervised, tmp_path: Path) -> None:
    part = Failing("part", tmp_path)
    part.launching = PermissionError(13, "Permission denied")
    async with supervised(part) as supervisor:
        with pytest.raises(Unavailable, match=r"part cannot be started: .*Permission denied"):
            await supervisor.start()
        assert status_of(supervisor, "part").state is State.FAILED


async def test_a_part_that_cannot_be_closed_does_not_block_the_others(supervised: Supervised, tmp_path: Path) -> None:
    class Clings(Script):
        async def close(self) -> None:
            raise OSError("will not close")

    base = Script("base", tmp_path)
    supervisor = Supervisor([base, Clings("part", tmp_path, after=["base"])], tmp_path)
    await supervisor.start()
    async with asyncio.timeout(10):
        with pytest.raises(OSError, match="will not close"):
            await supervisor.stop()
    assert base.closed


def test_an_exit_by_a_signal_without_a_name_is_described() -> None:
    assert describe_exit(-signal.SIGTERM) == "was killed by SIGTERM"
    assert describe_exit(-40) == "was killed by signal 40"
