"""The files of a Postgres cluster: made by initdb, of one major version, and locked by the server that runs on them."""

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
    """Who runs initdb, given who runs the server; None for the user of this process.

    Unlike the server, initdb asks for the name of its user. Where the user has none it gets one in a user namespace.

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
            f"user id {uid} has no entry in /etc/passwd, without which initdb makes no Postgres cluster, and this "
            f"system lets no process give itself a name ({output.strip().rpartition(chr(10))[2][:200]}); "
            f"make an entry (useradd --uid {uid} somamesh, in the image of a container), run soma as a user that has "
            "one, preload nss_wrapper, or set postgres_url",
            reason="USER_NAMELESS",
        )
    return named


async def initialise(program: Path, folder: Path, account: Account | None, user: str, password: str) -> None:
    """Make the cluster `folder/data` with the superuser `user`: beside its place, and moved there when it is whole.

    Raises:
        FailedPrecondition: initdb cannot be run, or failed; the message has what it said.
    """
    runs = await initialiser(program, account)
    new, secret = folder / "new", folder / "new.password"
    # What an interrupted attempt left.
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
        FailedPrecondition: they differ in the major version.
    """
    made_by = (data / "PG_VERSION").read_text().strip()
    if version is not None and version.split(".")[0] != made_by:
        raise FailedPrecondition(
            f"{data} was made by Postgres {made_by} and {program} is {version}; "
            f"put Postgres {made_by} on PATH, or move the data with pg_dump",
            reason="POSTGRES_VERSION_MISMATCH",
        )


def disown(data: Path) -> None:
    """Let the next server started by this process take the lock of one that is gone; a living one keeps it.

    Postgres itself would respect any process of its user that has come to have the number in the lock. It takes over
    a lock that names its parent, and still looks whether processes of the dead server use the shared memory it names.
    """
    lock = data / LOCK
    if not lock.exists() or _served(data):
        return
    found, rest = lock.stat(), lock.read_text().splitlines(keepends=True)[1:]
    new = lock.with_name(f"{LOCK}.new")
    new.write_text("".join([f"{os.getpid()}\n", *rest]))
    new.chmod(found.st_mode & 0o777)
    if os.geteuid() == 0:
        os.chown(new, found.st_uid, found.st_gid)
    new.replace(lock)


def is_serving(data: Path, pid: int | None) -> bool:
    """Whether the server with this process id has the cluster and accepts connections, by its own lock."""
    try:
        lines = (data / LOCK).read_text().splitlines()
    except OSError:
        return False
    return len(lines) >= 8 and lines[0] == str(pid) and lines[7].strip() == "ready"


def _served(data: Path) -> bool:
    """Whether some process was started to serve the cluster; command lines can be read whoever runs it."""
    return any(str(data) in (process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"]))
