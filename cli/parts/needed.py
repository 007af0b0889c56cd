"""The parts that services need: how a stack runs each of them, by the name that declarations give it.

Who adds a part adds it here and in `services/mesh/parts.py`, where it says how a process opens it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from cli.data_dir import DataDir
from cli.parts.external import ExternalPostgres, ExternalRedis
from cli.parts.part import Located
from cli.parts.postgres import Postgres, database_url
from cli.parts.program import POSTGRES, REDIS, Source
from cli.parts.redis import APPENDED, APPENDED_BEFORE, Redis, server_url
from services.mesh.call.errors import InvalidArgument
from services.mesh.settings import Settings

# Connections to Postgres beside those of the processes' pools: probes, migrations, people.
SPARE_CONNECTIONS = 20


@dataclass(frozen=True)
class Needed:
    """How a stack runs one part that services need.

    Attributes:
        program: what the embedded one runs.
        embedded: makes it, on its folder of the data directory, for so many processes.
        external: makes the same part where somebody else runs it, from its name and its URL.
        url: where the embedded one is, from its folder and its port.
        data: the names below its folder of which one is there once it holds data; none for a part that keeps nothing.
    """

    program: Source
    embedded: Callable[[Path, Settings, int], Located]
    external: Callable[[str, str], Located]
    url: Callable[[Path, int | None], str]
    data: Sequence[str]


def _postgres(folder: Path, settings: Settings, processes: int) -> Postgres:
    # One more than there are: while one is replaced there are two of it.
    return Postgres(folder, SPARE_CONNECTIONS + (processes + 1) * settings.postgres_pool)


def _redis(folder: Path, _settings: Settings, _processes: int) -> Redis:
    return Redis(folder)


NEEDED: Mapping[str, Needed] = MappingProxyType(
    {
        "postgres": Needed(POSTGRES, _postgres, ExternalPostgres, database_url, ("data",)),
        "redis": Needed(REDIS, _redis, ExternalRedis, server_url, (APPENDED, APPENDED_BEFORE)),
    }
)


def require_known(names: Iterable[str]) -> None:
    """Refuse a name that is no part's.

    Raises:
        InvalidArgument: there is one, and which parts there are.
    """
    for name in names:
        if name not in NEEDED:
            raise InvalidArgument(f"there is no part {name!r} to start; there are {', '.join(NEEDED)}")


def located(name: str, settings: Settings, directory: DataDir, processes: int) -> Located:
    """The part of a stack: the one that the settings name, else the embedded one for so many processes."""
    url = settings.part_url(name)
    if url is not None:
        return NEEDED[name].external(name, url)
    return NEEDED[name].embedded(directory[name], settings, processes)


def with_data(directory: DataDir) -> tuple[str, ...]:
    """The names of the parts that keep data in a data directory."""
    return tuple(
        name for name, needed in NEEDED.items() if any((directory[name] / each).exists() for each in needed.data)
    )
