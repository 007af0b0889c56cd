"""The data directory: its version, its lock, its permissions."""

import os
import stat
from pathlib import Path

import pytest

from cli.data_dir import VERSION, DataDir
from cli.lock import Holder, Purpose
from services.mesh.call.errors import FailedPrecondition


def test_a_new_directory_gets_the_version_and_its_folders(tmp_path: Path) -> None:
    directory = DataDir.at(tmp_path / "a" / "b")
    directory.prepare()
    assert (directory.root / "version").read_text() == f"{VERSION}\n"
    assert {path.name for path in directory.root.iterdir() if path.is_dir()} == {
        "postgres",
        "redis",
        "envoy",
        "logs",
        "run",
        "models",
        "llm",
        "triton",
    }


def test_preparing_twice_changes_nothing(data_dir: DataDir) -> None:
    before = {path: path.stat().st_mode for path in data_dir.root.rglob("*")}
    data_dir.prepare()
    assert {path: path.stat().st_mode for path in data_dir.root.rglob("*")} == before


def test_a_directory_of_an_older_version_is_marked_as_used_by_this_one(data_dir: DataDir) -> None:
    (data_dir.root / "version").write_text("1\n")
    data_dir.prepare()
    assert (data_dir.root / "version").read_text() == f"{VERSION}\n"


@pytest.mark.parametrize("version", [str(VERSION + 1), "beta", ""])
def test_a_version_that_is_newer_or_unknown_is_refused(data_dir: DataDir, version: str) -> None:
    (data_dir.root / "version").write_text(version)
    with pytest.raises(FailedPrecondition, match="data version") as refused:
        data_dir.prepare()
    assert refused.value.reason == "DATA_VERSION_UNKNOWN"


def test_a_directory_with_something_else_in_it_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("dear")
    with pytest.raises(FailedPrecondition) as refused:
        DataDir.at(tmp_path).prepare()
    assert refused.value.reason == "DATA_DIR_FOREIGN"
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_permissions_outside_the_directory_are_never_touched(tmp_path: Path) -> None:
    outer = tmp_path / "closed"
    outer.mkdir(mode=0o700)
    DataDir.at(outer / "data").prepare()
    assert stat.S_IMODE(outer.stat().st_mode) == 0o700


def test_two_holders_never_share_a_directory(data_dir: DataDir) -> None:
    with (
        data_dir.locked(Purpose.STACK),
        pytest.raises(FailedPrecondition, match=f"pid {os.getpid()}") as refused,
        data_dir.locked(Purpose.STACK),
    ):
        pass
    assert refused.value.reason == "ALREADY_RUNNING"


def test_the_lock_is_free_again_after_its_holder(data_dir: DataDir) -> None:
    for _ in range(2):
        with data_dir.locked(Purpose.STACK):
            assert data_dir.lock.holder() == Holder(os.getpid(), Purpose.STACK)
        assert data_dir.lock.holder() is None
