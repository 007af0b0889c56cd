"""The files of a Postgres cluster. initdb makes them for one major version, and the running server locks them."""

import asyncio
import os
import shutil
import sys
from pathlib import Path

import psutil

from cli.parts.account import Account, alias
from cli.parts.part import Launch
from cli.parts.process import run
from services.mesh.call.errors import FailedPrecondition

LOCK = "postmaster.pid"


async def initialiser(program: Path, account: Account | None) -> Account | None:
    """The user that runs initdb, from the user that runs the server; None for the user of this process.

    Unlike the server, initdb needs the name of its user. A user without a name gets one in a user namespace.

    Raises:
        FailedPrecondition: the user has no name, and the system refuses a user namespace.
    """
    named = alias() if account is None else None
    if named is None:
        return account
    status, output = await run(Launch([str(program.with_name("initdb")), "--version"], bare=True, account=named))
    if status != 0:
        uid = os.geteuid()
        raise FailedPrecondition(
            f"user id {uid} has no entry in /etc/passwd, which initdb needs to make a Postgres cluster, and this "
            f"system refuses user namespaces ({output.strip().rpartition(chr(10))[2][:200]}); "
            f"add an entry (useradd --uid {uid} somamesh, in the image of a container), run soma as a user that has "
            "one, preload nss_wrapper, or set postgres_url",
            reason="USER_NAMELESS",
        )
    return named


async def initialise(program: Path, folder: Path, account: Account | None, user: str, password: str) -> None:
    """Make the cluster `folder/data` with the superuser `user`. It is made in another folder and moved when complete.

    Raises:
        FailedPrecondition: initdb cannot be run, or failed; the message has its output.
    """
    runs = await initialiser(program, account)
    new, secret = folder / "new", folder / "new.password"
    # Remove what an interrupted attempt left.
    await asyncio.to_thread(shutil.rmtree, new, ignore_errors=True)
    secret.unlink(missing_ok=True)
    new.mkdir(mode=0o700)
    with os.fdopen(os.open(secret, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(password)
    if account is not None:
        os.chown(new, account.uid, account.gid)
        os.chown(secret, account.uid, account.gid)
    command = [str(program.with_name("initdb")), "-D", str(new), "-U", user, f"--pwfile={secret}"]
    command += ["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-instructions"]
    command += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    if sys.platform == "linux":
        command.append("--sync-method=syncfs")
    status, output = await run(Launch(command, bare=True, account=runs))
    secret.unlink()
    if status != 0:
        raise FailedPrecondition(f"initdb failed: {output.strip()[-2000:]}", reason="POSTGRES_INIT_FAILED")
    new.rename(folder / "data")


def check_version(data: Path, program: Path, version: str | None) -> None:
    """Compare the cluster's version with the program's, such as `18.4`.

    Raises:
        FailedPrecondition: the major versions differ.
    """
    made_by = (data / "PG_VERSION").read_text().strip()
    if version is not None and version.split(".")[0] != made_by:
        raise FailedPrecondition(
            f"{data} was made by Postgres {made_by}, and {program} is {version}; "
            f"put Postgres {made_by} on PATH, or move the data with pg_dump",
            reason="POSTGRES_VERSION_MISMATCH",
        )


def take_over_lock(data: Path) -> None:
    """Let the next server that this process starts take over a dead server's lock; a running server keeps its lock.

    Postgres itself would respect the lock if any process of its user now has the pid in it. But it takes over a lock
    that names its parent, and it still checks whether processes of the dead server use its shared memory.
    """
    lock = data / LOCK
    if not lock.exists() or _has_server(data):
        return
    found, rest = lock.stat(), lock.read_text().splitlines(keepends=True)[1:]
    new = lock.with_name(f"{LOCK}.new")
    new.write_text("".join([f"{os.getpid()}\n", *rest]))
    new.chmod(found.st_mode & 0o777)
    if os.geteuid() == 0:
        os.chown(new, found.st_uid, found.st_gid)
    new.replace(lock)


def is_serving(data: Path, pid: int | None) -> bool:
    """Whether the cluster's lock file says that the server with this pid accepts connections."""
    try:
        lines = (data / LOCK).read_text().splitlines()
    except OSError:
        return False
    return len(lines) >= 8 and lines[0] == str(pid) and lines[7].strip() == "ready"


def _has_server(data: Path) -> bool:
    """Whether a process has the cluster in its command line, which is readable for processes of all users."""
    return any(str(data) in (process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"]))
