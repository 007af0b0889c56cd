"""The files of a cluster, also for a user without a name."""

import os
import pwd
from pathlib import Path

import pytest

from cli.parts.account import Account, alias
from cli.parts.cluster import initialise
from cli.parts.part import Launch
from cli.parts.process import run
from cli.parts.program import POSTGRES, find
from services.mesh.call.errors import FailedPrecondition

NAMELESS = 987654321


@pytest.fixture
def nameless(monkeypatch: pytest.MonkeyPatch) -> None:
    """The id of this process's user has no entry in /etc/passwd."""
    monkeypatch.setattr(os, "geteuid", lambda: NAMELESS)


def test_a_user_with_a_name_gets_no_alias() -> None:
    assert alias() is None


@pytest.mark.usefixtures("nameless")
def test_a_user_without_a_name_gets_the_name_of_an_ordinary_user() -> None:
    user = alias()
    assert user is not None
    assert user.alias
    assert user.uid != 0
    assert pwd.getpwuid(user.uid).pw_name == user.name


async def needs_user_namespaces() -> None:
    """Skip the test if the system refuses user namespaces."""
    status, _ = await run(Launch(["/bin/true"], account=Account("daemon", 1, 1, alias=True)))
    if status != 0:
        pytest.skip("this system refuses user namespaces: allow them (sysctl user.max_user_namespaces, seccomp)")


async def test_a_process_that_is_seen_as_another_user_keeps_its_user(tmp_path: Path) -> None:
    await needs_user_namespaces()
    command = ["/bin/sh", "-c", f"id -u; touch {tmp_path}/made"]
    status, output = await run(Launch(command, account=Account("daemon", 1, 1, alias=True)))
    assert (status, output) == (0, "1\n")
    assert (tmp_path / "made").stat().st_uid == os.geteuid()


@pytest.mark.usefixtures("nameless")
async def test_a_user_without_a_name_makes_a_cluster(tmp_path: Path) -> None:
    await needs_user_namespaces()
    await initialise(find(POSTGRES), tmp_path, None, "soma", "secret")
    assert (tmp_path / "data" / "PG_VERSION").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


@pytest.mark.usefixtures("nameless")
async def test_a_system_without_user_namespaces_is_reported_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # This id cannot be mapped, so the system refuses as if user namespaces were forbidden.
    monkeypatch.setattr("cli.parts.cluster.alias", lambda: Account("nobody", 2**32 - 1, 1, alias=True))
    with pytest.raises(FailedPrecondition, match=rf"user id {NAMELESS}.*useradd --uid {NAMELESS}") as refused:
        await initialise(find(POSTGRES), tmp_path, None, "soma", "secret")
    assert refused.value.reason == "USER_NAMELESS"
    assert list(tmp_path.iterdir()) == []
