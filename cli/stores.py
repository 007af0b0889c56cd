"""The embedded Postgres and Redis of a data directory, for a command that needs them whether the stack runs or not."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from cli.data_dir import DataDir
from cli.lock import Purpose
from cli.parts.part import Launch
from cli.parts.postgres import Postgres, database_url
from cli.parts.process import run
from cli.parts.program import POSTGRES, find
from cli.parts.redis import Redis, server_url
from cli.state import running
from cli.supervisor import Supervisor
from services.mesh.call.errors import FailedPrecondition


@dataclass(frozen=True)
class Stores:
    """URLs, with their passwords, of what serves now."""

    postgres: str
    redis: str


@asynccontextmanager
async def stores(directory: DataDir) -> AsyncIterator[Stores]:
    """Those of the running stack; if none runs they are started for the block.

    Raises:
        FailedPrecondition: the stack keeps its data elsewhere, or just starts or stops.
        Unavailable: they cannot be started.
    """
    stack = running(directory)
    if stack is None:
        async with started(directory) as found:
            yield found
        return
    parts = {part.name: part for part in stack.parts}
    postgres, redis = parts["postgres"], parts["redis"]
    for part in (postgres, redis):
        if part.external:
            raise FailedPrecondition(
                f"{part.name} of this stack is external ({part.where}): back it up with its own tools, "
                "and copy the keys from the data directory",
                reason="STORE_EXTERNAL",
            )
        if part.state != "ready":
            raise FailedPrecondition(f"{part.name} is {part.state}; wait until it is ready", reason="STORE_NOT_READY")
    yield Stores(
        database_url(directory["postgres"], postgres.port),
        server_url(directory["redis"], redis.port),
    )


@asynccontextmanager
async def started(directory: DataDir) -> AsyncIterator[Stores]:
    """Postgres and Redis of a directory on which no stack runs, for the block."""
    with directory.locked(Purpose.STORES):
        postgres, redis = Postgres(directory["postgres"]), Redis(directory["redis"])
        supervisor = Supervisor([postgres, redis], directory["logs"])
        try:
            await supervisor.start()
            yield Stores(postgres.url, redis.url)
        finally:
            await supervisor.stop()


async def run_tool(name: str, arguments: Sequence[str | Path], url: str) -> None:
    """Run one of Postgres's own programs on a database.

    Raises:
        FailedPrecondition: it is missing, or failed; the message has what it said.
    """
    program = find(POSTGRES).with_name(name)
    if not program.exists():
        raise FailedPrecondition(f"{program} is missing beside postgres", reason="PROGRAM_MISSING")
    target = urlsplit(url)
    # In the environment, because the arguments of a process can be read by every user.
    env = {
        "PGHOST": target.hostname or "",
        "PGPORT": str(target.port),
        "PGUSER": unquote(target.username or ""),
        "PGPASSWORD": unquote(target.password or ""),
        "PGDATABASE": target.path.removeprefix("/"),
        # It has no certificate, and looking for ours would need a home directory that can be read.
        "PGSSLMODE": "disable",
    }
    status, output = await run(Launch([str(program), *map(str, arguments)], env=env, bare=True))
    if status != 0:
        raise FailedPrecondition(f"{name} failed: {output.strip()[-2000:]}", reason="POSTGRES_TOOL_FAILED")
