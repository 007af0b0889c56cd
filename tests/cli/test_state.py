"""The state and the lock of a running stack, also when their files are deleted or damaged."""

import os
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from cli.data_dir import DataDir
from cli.lock import Holder, Purpose
from cli.report import report, table
from cli.state import StackState, StateFile, running
from cli.status import State
from services.mesh.call.errors import FailedPrecondition
from services.mesh.process.jobs import run_job
from services.mesh.testing.waiting import until

STATE = StackState.of_this_process("http://127.0.0.1:8080")
READY = replace(STATE, state=State.READY)


@pytest.fixture
async def state_file(data_dir: DataDir) -> AsyncIterator[StateFile]:
    """The state of a stack that runs in this process."""
    with data_dir.locked(Purpose.STACK) as lock:
        async with AsyncExitStack() as stack:
            file = StateFile(data_dir, lock)
            file.tell(STATE)
            run_job(stack, "control", file.job)
            yield file


def says(data_dir: DataDir, state: StackState) -> Callable[[], bool]:
    return lambda: StackState.read(data_dir.state) == state


async def test_a_state_that_was_deleted_with_its_folder_is_written_again(
    data_dir: DataDir, state_file: StateFile
) -> None:
    shutil.rmtree(data_dir["run"])
    await until(says(data_dir, STATE), "it is there again")
    shutil.rmtree(data_dir["run"])
    state_file.tell(READY)
    assert running(data_dir) == READY


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"pid": 1}', "\x00\x00"])
async def test_a_damaged_state_is_written_again(data_dir: DataDir, state_file: StateFile, damage: str) -> None:
    data_dir.state.write_text(damage)
    assert StackState.read(data_dir.state) is None
    with pytest.raises(FailedPrecondition, match=f"a stack runs on {data_dir.root} \\(pid {os.getpid()}\\)") as refused:
        running(data_dir)
    assert refused.value.reason == "STATE_UNREADABLE"
    await until(says(data_dir, STATE), "it is whole again")


async def test_a_state_that_a_full_disk_refused_is_written_later_and_reported_once(
    data_dir: DataDir, state_file: StateFile
) -> None:
    # Every write to this device fails as if the disk were full.
    new = data_dir.state.with_name("control.json.new")
    with capture_logs() as logs:
        new.symlink_to("/dev/full")
        state_file.tell(READY)
        assert StackState.read(data_dir.state) == STATE
        await until(lambda: logs != [], "it is said")
        new.unlink()
        await until(says(data_dir, READY), "it is written")
    assert ["No space left" in str(line["exc_info"]) for line in logs] == [True]


async def test_a_lock_that_was_deleted_is_taken_again(data_dir: DataDir, state_file: StateFile) -> None:
    (data_dir.root / "lock").unlink()
    shutil.rmtree(data_dir["run"])
    await until((data_dir.root / "lock").exists, "it is there again")
    await until((data_dir["run"] / "lock").exists, "so is that of earlier versions")
    with pytest.raises(FailedPrecondition, match="already runs"), data_dir.locked(Purpose.STACK):
        pass


async def test_a_lock_that_was_emptied_says_again_who_holds_it(data_dir: DataDir, state_file: StateFile) -> None:
    (data_dir.root / "lock").write_text("")
    with pytest.raises(FailedPrecondition, match="does not say by which process"):
        data_dir.lock.holder()
    with pytest.raises(FailedPrecondition, match="does not say by which process"), data_dir.locked(Purpose.STACK):
        pass
    await until(lambda: (data_dir.root / "lock").read_text() != "", "it says who")
    assert data_dir.lock.holder() == Holder(os.getpid(), Purpose.STACK)


def test_a_directory_without_its_run_folder_is_still_held(data_dir: DataDir) -> None:
    with data_dir.locked(Purpose.STACK):
        shutil.rmtree(data_dir["run"])
        data_dir.prepare()
        with (
            pytest.raises(FailedPrecondition, match=f"already runs on {data_dir.root}"),
            data_dir.locked(Purpose.STACK),
        ):
            pass


def test_a_stack_of_an_earlier_version_is_seen(data_dir: DataDir) -> None:
    import fcntl

    with (data_dir["run"] / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(f"{os.getpid()}\n")
        file.flush()
        assert data_dir.lock.holder() == Holder(os.getpid(), Purpose.STACK)
        with pytest.raises(FailedPrecondition, match="already runs"), data_dir.locked(Purpose.STACK):
            pass


def test_a_command_that_uses_the_stores_is_no_stack(data_dir: DataDir) -> None:
    with data_dir.locked(Purpose.STORES):
        assert running(data_dir) is None
        with pytest.raises(FailedPrecondition, match="another soma command uses"), data_dir.locked(Purpose.STACK):
            pass


def test_the_process_of_a_holder_is_known_by_the_lock_it_has_open(data_dir: DataDir) -> None:
    with data_dir.locked(Purpose.STACK):
        assert data_dir.lock.process(Holder(os.getpid(), Purpose.STACK)).pid == os.getpid()
    # The pid now belongs to a process without the lock.
    with pytest.raises(FailedPrecondition, match="cannot be seen from here") as refused:
        data_dir.lock.process(Holder(os.getpid(), Purpose.STACK))
    assert refused.value.reason == "HOLDER_ELSEWHERE"


def test_a_full_disk_refuses_a_lock_in_words(data_dir: DataDir) -> None:
    (data_dir.root / "lock").symlink_to("/dev/full")
    with pytest.raises(FailedPrecondition, match="cannot be used: No space left on device") as refused:
        data_dir.locked(Purpose.STACK).__enter__()
    assert refused.value.reason == "DATA_DIR_UNUSABLE"


def test_the_status_of_a_stack_whose_state_is_missing_says_that_it_runs(data_dir: DataDir) -> None:
    with data_dir.locked(Purpose.STACK):
        found = report(data_dir)
    assert (found["running"], found["state"], found["parts"]) == (True, "unknown", [])
    assert f"a stack runs on {data_dir.root}" in table(found)


def test_a_damaged_state_of_a_stack_that_ended_is_ignored(data_dir: DataDir) -> None:
    data_dir.state.write_text("")
    assert running(data_dir) is None
    assert report(data_dir)["running"] is False
