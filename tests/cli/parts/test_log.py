"""Logs of parts: rotation by size, and reading back."""

import os
from pathlib import Path

import pytest

from cli.parts.log import ROTATED_FILES, PartLog


def write(log: PartLog, text: str) -> None:
    handle = log.open()
    os.write(handle, text.encode())
    os.close(handle)


def test_a_small_log_is_not_rotated(tmp_path: Path) -> None:
    log = PartLog(tmp_path / "part.log", max_bytes=10)
    write(log, "0123456789")
    assert not log.rotate()


def test_a_process_goes_on_in_the_same_file_after_a_rotation(tmp_path: Path) -> None:
    log = PartLog(tmp_path / "part.log", max_bytes=10)
    handle = log.open()
    os.write(handle, b"before the rotation\n")
    assert log.rotate()
    os.write(handle, b"after\n")
    os.close(handle)
    assert log.path.read_text() == "after\n"
    assert (tmp_path / "part.log.1").read_text() == "before the rotation\n"


def test_only_the_newest_rotated_files_are_kept(tmp_path: Path) -> None:
    log = PartLog(tmp_path / "part.log", max_bytes=1)
    for number in range(ROTATED_FILES + 3):
        write(log, f"life {number}\n")
        log.rotate()
    kept = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert kept == {
        "part.log": "",
        "part.log.1": "life 5\n",
        "part.log.2": "life 4\n",
        "part.log.3": "life 3\n",
    }


def test_the_tail_is_the_last_lines_oldest_first(tmp_path: Path) -> None:
    log = PartLog(tmp_path / "part.log")
    assert log.tail(3) == []
    write(log, "".join(f"{number}\n" for number in range(10)))
    assert log.tail(3) == ["7", "8", "9"]


def test_a_log_can_be_read_by_its_owner_only(tmp_path: Path) -> None:
    log = PartLog(tmp_path / "part.log", max_bytes=1)
    write(log, "secret\n")
    log.rotate()
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}


def test_a_log_that_a_full_disk_cannot_copy_stays_with_the_older_ones(tmp_path: Path) -> None:
    log = PartLog(tmp_path / "part.log", max_bytes=3)
    log.path.write_text("now\n")
    for number in range(1, ROTATED_FILES + 1):
        (tmp_path / f"part.log.{number}").write_text(f"{number}\n")
    before = {path: path.read_text() for path in tmp_path.iterdir()}
    # Where the copy is made first, every write fails as on a full disk.
    (tmp_path / "part.log.new").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        log.rotate()
    assert {path: path.read_text() for path in tmp_path.iterdir()} == before
    assert log.rotate()
    assert (tmp_path / "part.log.1").read_text() == "now\n"


def test_a_log_is_opened_in_a_folder_that_was_deleted(tmp_path: Path) -> None:
    log = PartLog(tmp_path / "logs" / "part.log")
    os.close(log.open())
    assert log.path.exists()
