"""Access to the embedded parts that have the data of a data directory, whether the stack runs or not."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

from cli.data_dir import DataDir
from cli.lock import Purpose
from cli.parts.needed import NEEDED, with_data
from cli.parts.part import Launch
from cli.parts.process import run
from cli.parts.program import POSTGRES, find
from cli.state import running
from cli.supervisor import Supervisor
from services.mesh.call.errors import FailedPrecondition
from services.mesh.settings import Settings

_KEEPING = tuple(name for name, needed in NEEDED.items() if needed.data)


@asynccontextmanager
async def stores(directory: DataDir) -> AsyncIterator[Mapping[str, str]]:
    """The URLs, with passwords, of the parts that store data, by name. If no stack runs, they run during the block.

    Raises:
        FailedPrecondition: the stack uses an external part, is starting or stopping, or does not run a part that has
            data here.
        Unavailable: a part cannot be started.
    """
    stack = running(directory)
    if stack is None:
        async with started(directory, with_data(directory)) as found:
            yield found
        return
    parts = {part.name: part for part in stack.parts if part.name in _KEEPING}
    if left_out := [name for name in with_data(directory) if name not in parts]:
        raise FailedPrecondition(
            f"{' and '.join(left_out)} of this data directory has data, and the stack does not run it, because none of "
            "its services needs it; stop the stack first: soma down",
            reason="STORE_NOT_READY",
        )
    for part in parts.values():
        if part.external:
            raise FailedPrecondition(
                f"{part.name} of this stack is external ({part.where}): back it up with its own tools, "
                "and copy the keys from the data directory",
                reason="STORE_EXTERNAL",
            )
        if part.state != "ready":
            raise FailedPrecondition(f"{part.name} is {part.state}; wait until it is ready", reason="STORE_NOT_READY")
    yield {name: NEEDED[name].url(directory[name], part.port) for name, part in parts.items()}


@asynccontextmanager
async def started(directory: DataDir, names: Iterable[str] = _KEEPING) -> AsyncIterator[Mapping[str, str]]:
    """Run these parts during the block, on a directory without a running stack; yield their URLs by name."""
    settings = Settings(data_dir=directory.root)
    with directory.locked(Purpose.STORES):
        parts = {name: NEEDED[name].embedded(directory[name], settings, 1) for name in names}
        supervisor = Supervisor(list(parts.values()), directory["logs"])
        try:
            await supervisor.start()
            yield {name: part.url for name, part in parts.items()}
        finally:
            await supervisor.stop()


async def run_tool(name: str, arguments: Sequence[str | Path], url: str) -> None:
    """Run one of Postgres's own programs on a database.

    Raises:
        FailedPrecondition: the program is missing, or failed; the message has its output.
    """
    program = find(POSTGRES).with_name(name)
    if not program.exists():
        raise FailedPrecondition(f"{program} is missing beside postgres", reason="PROGRAM_MISSING")
    target = urlsplit(url)
    # In the environment, because every user can read the arguments of a process.
    env = {
        "PGHOST": target.hostname or "",
        "PGPORT": str(target.port),
        "PGUSER": unquote(target.username or ""),
        "PGPASSWORD": unquote(target.password or ""),
        "PGDATABASE": target.path.removeprefix("/"),
        # The server has no TLS certificate. With TLS, the program would look for files in the home directory, which
        # it may not be able to read.
        "PGSSLMODE": "disable",
    }
    status, output = await run(Launch([str(program), *map(str, arguments)], env=env, bare=True))
    if status != 0:
        raise FailedPrecondition(f"{name} failed: {output.strip()[-2000:]}", reason="POSTGRES_TOOL_FAILED")
