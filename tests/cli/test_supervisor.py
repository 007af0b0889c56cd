"""What holds for every part: order of start and stop, restarts, failures."""

import os
import signal
from itertools import pairwise
from pathlib import Path

import psutil
import pytest

from cli.backoff import FIRST
from cli.status import PartStatus, State
from cli.supervisor import Supervisor
from services.mesh.errors import FailedPrecondition, Unavailable
from tests.cli.conftest import Supervised
from tests.cli.eventually import eventually
from tests.cli.parts.programs import REFUSES_TO_END, Ends, Script


def status_of(supervisor: Supervisor, name: str) -> PartStatus:
    return next(status for status in supervisor.statuses if status.name == name)


class Recorder:
    """The order in which parts came into states."""

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


async def test_a_part_killed_is_started_again_after_the_first_delay(supervised: Supervised, tmp_path: Path) -> None:
    async with supervised(Script("part", tmp_path)) as supervisor:
        await supervisor.start()
        first = status_of(supervisor, "part")
        assert first.pid is not None
        os.kill(first.pid, signal.SIGKILL)
        await eventually(lambda: status_of(supervisor, "part").state is State.RESTARTING, "the end is noticed")
        noticed = status_of(supervisor, "part")
        assert noticed.reason == "was killed by SIGKILL"
        assert noticed.pid is None
        await eventually(lambda: status_of(supervisor, "part").state is State.READY, "it is ready again")
        again = status_of(supervisor, "part")
        assert again.restarts == 1
        assert again.reason is None
        assert again.pid is not None
        assert psutil.Process(again.pid).create_time() - psutil.Process().create_time() > 0
        assert again.pid != first.pid


async def test_each_further_end_is_followed_by_a_longer_wait(supervised: Supervised, tmp_path: Path) -> None:
    started: list[float] = []
    async with supervised(Script("part", tmp_path)) as supervisor:
        await supervisor.start()
        for restarts in range(3):
            pid = status_of(supervisor, "part").pid
            assert pid is not None
            started.append(psutil.Process(pid).create_time())
            os.kill(pid, signal.SIGKILL)
            await eventually(
                lambda wanted=restarts + 1: (  # type: ignore[misc]
                    status_of(supervisor, "part").restarts == wanted
                    and status_of(supervisor, "part").state is State.READY
                ),
                "it is ready again",
            )
        pid = status_of(supervisor, "part").pid
        assert pid is not None
        started.append(psutil.Process(pid).create_time())
    # The clock of process starts ticks in hundredths of a second.
    waits = [later - earlier for earlier, later in pairwise(started)]
    assert [wait >= FIRST * 2**number - 0.02 for number, wait in enumerate(waits)] == [True, True, True]


async def test_a_part_that_never_gets_ready_fails_the_start_with_its_last_words(
    supervised: Supervised, tmp_path: Path
) -> None:
    async with supervised(Script("good", tmp_path), Ends("bad"), Script("late", tmp_path, after=["bad"])) as supervisor:
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


async def test_what_cannot_be_launched_fails_at_once_without_a_retry(supervised: Supervised, tmp_path: Path) -> None:
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
    import asyncio

    part = Script(
        "part", tmp_path / "missing" / "folder", "import signal, sys; sys.excepthook = lambda *_: signal.pause()"
    )
    async with supervised(part) as supervisor:
        starting = asyncio.create_task(supervisor.start())
        await eventually(lambda: status_of(supervisor, "part").pid is not None, "its process runs")
        pid = status_of(supervisor, "part").pid
        starting.cancel()
    assert pid is not None
    assert not psutil.pid_exists(pid)
