"""The files of a cluster, made for a user without a name too."""

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
    """The user of this process has an id that is in no /etc/passwd."""
    monkeypatch.setattr(os, "geteuid", lambda: NAMELESS)


def test_a_user_with_a_name_needs_no_other() -> None:
    assert alias() is None


@pytest.mark.usefixtures("nameless")
def test_a_user_without_a_name_is_called_as_some_ordinary_user() -> None:
    user = alias()
    assert user is not None
    assert user.alias
    assert user.uid != 0
    assert pwd.getpwuid(user.uid).pw_name == user.name


async def needs_user_namespaces() -> None:
    """Skip the test where the system refuses them."""
    status, _ = await run(Launch(["/bin/true"], account=Account("daemon", 1, 1, alias=True)))
    if status != 0:
        pytest.skip("this system refuses user namespaces: allow them (sysctl user.max_user_namespaces, seccomp)")


async def test_who_is_seen_as_another_user_stays_who_it_is(tmp_path: Path) -> None:
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
async def test_where_no_name_can_be_had_it_is_said_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # No id can be mapped to this one, so the system refuses as it does where user namespaces are forbidden.
    monkeypatch.setattr("cli.parts.cluster.alias", lambda: Account("nobody", 2**32 - 1, 1, alias=True))
    with pytest.raises(FailedPrecondition, match=rf"user id {NAMELESS}.*useradd --uid {NAMELESS}") as refused:
        await initialise(find(POSTGRES), tmp_path, None, "soma", "secret")
    assert refused.value.reason == "USER_NAMELESS"
    assert list(tmp_path.iterdir()) == []
