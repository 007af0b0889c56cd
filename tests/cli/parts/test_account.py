"""The user that Postgres runs as under root."""

import os
from pathlib import Path

import pytest

from cli.parts.account import closed_directory, unprivileged
from services.mesh.call.errors import FailedPrecondition

NOBODY = 65534
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="an account is chosen only under root: run as root")


def test_the_first_directory_closed_to_a_user_is_named(tmp_path: Path) -> None:
    (tmp_path / "open" / "closed" / "inner").mkdir(parents=True)
    tmp_path.chmod(0o711)
    (tmp_path / "open" / "closed").chmod(0o700)
    above = closed_directory(NOBODY, NOBODY, [tmp_path / "open"])
    expected = above or tmp_path / "open" / "closed"
    assert closed_directory(NOBODY, NOBODY, [tmp_path / "open" / "closed" / "inner" / "file"]) == expected


def test_the_owner_is_judged_as_owner(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    assert closed_directory(os.geteuid(), os.getegid(), [tmp_path / "file"]) is None


@needs_root
def test_below_a_closed_directory_the_account_keeps_one_capability(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    account = unprivileged([tmp_path / "data"])
    assert account is not None
    assert account.uid != 0
    assert account.reach


@needs_root
def test_without_that_capability_the_closed_directory_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    with pytest.raises(FailedPrecondition, match="--data-dir") as refused:
        unprivileged([tmp_path / "data"], capabilities=0)
    assert refused.value.reason == "DATA_DIR_UNREACHABLE"


@needs_root
def test_an_account_that_can_enter_all_directories_keeps_no_capability() -> None:
    account = unprivileged([Path("/usr/bin/env")])
    assert account is not None
    assert not account.reach
