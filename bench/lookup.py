"""The peer of a recall: FastAPI and asyncpg read the same row of the same Postgres, in their own environment."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from bench.programs import Missing, running
from cli.parts.part import Launch

PYTHON = Path(__file__).parents[1] / ".tools" / "lookup" / "bin" / "python"
APPLICATION = Path(__file__).with_name("lookup_app.py")
PATIENCE_SECONDS = 30.0


@dataclass(frozen=True)
class Lookup:
    """A running peer."""

    port: int
    pid: int


@asynccontextmanager
async def lookup(log: Path, port: int, database: str) -> AsyncIterator[Lookup]:
    """Run the peer during a block.

    Raises:
        Missing: it is not installed.
    """
    if not PYTHON.exists():
        raise Missing("FastAPI is missing: make bench installs it")
    url = urlsplit(database)
    launch = Launch(
        [str(PYTHON), "-P", str(APPLICATION), str(port)],
        # In the environment, because other users can read arguments.
        env={
            "PGHOST": str(url.hostname),
            "PGPORT": str(url.port),
            "PGUSER": str(url.username),
            "PGPASSWORD": str(url.password),
            "PGDATABASE": url.path[1:],
        },
    )
    async with running(launch, log, port, PATIENCE_SECONDS) as pid:
        yield Lookup(port, pid)
