"""The users that programs run as: an unprivileged account under root, and a name for a user without one."""

import os
import pwd
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from services.mesh.call.errors import FailedPrecondition

# An account that the administrator made for soma comes first.
CANDIDATES = ("somamesh", "nobody")
CAP_DAC_OVERRIDE = 1
CAP_SETPCAP = 8


@dataclass(frozen=True)
class Account:
    """A user that a program runs as.

    Attributes:
        reach: whether it needs CAP_DAC_OVERRIDE to reach its files, because it may not enter a directory above them.
        alias: whether it is only another name: the program keeps the user of this process, and sees itself as this user
            in a user namespace (user_namespaces(7)).
    """

    name: str
    uid: int
    gid: int
    reach: bool = False
    alias: bool = False


def alias() -> Account | None:
    """An account whose name the user of this process can take; None when the user has a name.

    Raises:
        FailedPrecondition: the system has no named users.
    """
    try:
        pwd.getpwuid(os.geteuid())
    except KeyError:
        user = next((found for found in pwd.getpwall() if found.pw_uid != 0), None)
        if user is None:
            raise FailedPrecondition(
                "/etc/passwd has no ordinary user, and Postgres's initdb needs the name of one: "
                "add an entry, or set postgres_url",
                reason="USER_NAMELESS",
            ) from None
        return Account(user.pw_name, user.pw_uid, user.pw_gid, alias=True)
    return None


def closed_directory(uid: int, gid: int, paths: Iterable[Path]) -> Path | None:
    """The first directory on the way to `paths` that the user may not enter, by its mode bits."""
    for path in paths:
        for directory in reversed(path.resolve().parents):
            found = directory.stat()
            bit = 0o100 if found.st_uid == uid else 0o010 if found.st_gid == gid else 0o001
            if not found.st_mode & bit:
                return directory
    return None


def _capabilities() -> int:
    status = Path("/proc/self/status")
    if not status.exists():
        return 0
    line = next(line for line in status.read_text().splitlines() if line.startswith("CapEff:"))
    return int(line.split()[1], 16)


def unprivileged(paths: Iterable[Path], capabilities: int | None = None) -> Account | None:
    """The account for a program that refuses to run as root; None when this process is not root.

    Args:
        paths: the paths that the program must reach: itself and its data.
        capabilities: effective capabilities of this process; if not given, they are read from the system.

    Raises:
        FailedPrecondition: there is no such account, or it cannot reach a path.
    """
    if os.geteuid() != 0:
        return None
    users = {found.pw_name: found for found in pwd.getpwall()}
    user = next((users[name] for name in CANDIDATES if name in users), None)
    if user is None:
        raise FailedPrecondition(
            f"Postgres does not run as root and none of the accounts {', '.join(CANDIDATES)} exists; "
            "run soma as an ordinary user, or make an account: useradd --system somamesh",
            reason="ACCOUNT_MISSING",
        )
    closed = closed_directory(user.pw_uid, user.pw_gid, paths)
    if closed is None:
        return Account(user.pw_name, user.pw_uid, user.pw_gid)
    held = _capabilities() if capabilities is None else capabilities
    if not (held >> CAP_DAC_OVERRIDE & 1 and held >> CAP_SETPCAP & 1):
        raise FailedPrecondition(
            f"Postgres does not run as root, and {user.pw_name}, the account it would run as, cannot enter {closed}; "
            "use a --data-dir that it can enter (and install soma in one), or run soma as an ordinary user",
            reason="DATA_DIR_UNREACHABLE",
        )
    return Account(user.pw_name, user.pw_uid, user.pw_gid, reach=True)
