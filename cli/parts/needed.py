"""The parts that services need, by their names in declarations, and how a stack runs each of them.

A new part is added here and in `services/mesh/parts.py`, which says how a process opens it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from cli.data_dir import DataDir
from cli.parts.external import ExternalLlm, ExternalPostgres, ExternalRedis
from cli.parts.llm import Llm
from cli.parts.llm import server_url as llm_url
from cli.parts.part import Located
from cli.parts.postgres import Postgres, database_url
from cli.parts.postgres import settings as postgres_settings
from cli.parts.program import POSTGRES, REDIS, Source
from cli.parts.redis import APPENDED, APPENDED_BEFORE, Redis, server_url
from services.mesh.call.errors import InvalidArgument
from services.mesh.settings import Settings
from services.mesh.stores.postgres import system_size
from services.model.llm.files import installed

# Connections to Postgres in addition to the processes' pools: for probes, migrations and people.
SPARE_CONNECTIONS = 20


@dataclass(frozen=True)
class Needed:
    """How a stack runs one part that services need.

    Attributes:
        program: the program of the embedded part; None if it is a module of this server.
        embedded: makes the embedded part from its folder in the data directory, the settings, and the number of
            processes that use it.
        external: makes the part that somebody else runs, from its name and its URL.
        url: returns the URL of the embedded part, from its folder and its port.
        settings: returns the settings with which a process uses the embedded part, from its folder and its port.
        data: names in its folder; one of them exists if the part has data. Empty for a part that stores nothing.
    """

    program: Source | None
    embedded: Callable[[Path, Settings, int], Located]
    external: Callable[[str, str], Located]
    url: Callable[[Path, int | None], str]
    settings: Callable[[Path, int | None], Mapping[str, str]]
    data: Sequence[str]


def _postgres(folder: Path, settings: Settings, processes: int) -> Postgres:
    pool = settings.postgres_pool
    # One more process, because a process and its replacement run at the same time.
    return Postgres(folder, SPARE_CONNECTIONS + (processes + 1) * (pool + system_size(pool)))


def _redis(folder: Path, _settings: Settings, _processes: int) -> Redis:
    return Redis(folder)


def _llm(folder: Path, _settings: Settings, _processes: int) -> Llm:
    return Llm(folder)


def _redis_settings(folder: Path, port: int | None) -> Mapping[str, str]:
    return {"redis_url": server_url(folder, port)}


def _llm_settings(folder: Path, port: int | None) -> Mapping[str, str]:
    return {"llm_url": llm_url(folder, port)}


NEEDED: Mapping[str, Needed] = MappingProxyType(
    {
        "postgres": Needed(POSTGRES, _postgres, ExternalPostgres, database_url, postgres_settings, ("data",)),
        "redis": Needed(REDIS, _redis, ExternalRedis, server_url, _redis_settings, (APPENDED, APPENDED_BEFORE)),
        # Files of models can be added again, so they are no data that a backup has.
        "llm": Needed(None, _llm, ExternalLlm, llm_url, _llm_settings, ()),
    }
)


def require_known(names: Iterable[str]) -> None:
    """Refuse unknown names of parts.

    Raises:
        InvalidArgument: a name is unknown; the message lists all parts.
    """
    for name in names:
        if name not in NEEDED:
            raise InvalidArgument(f"there is no part {name!r} to start; there are {', '.join(NEEDED)}")


def part_is_here(name: str) -> bool:
    """Whether this machine has what the embedded part runs. Only of optional parts that is asked before the start."""
    return name != "llm" or installed()


def located(name: str, settings: Settings, directory: DataDir, processes: int) -> Located:
    """The external part if the settings have its URL, else the embedded part for this number of processes."""
    url = settings.part_url(name)
    if url is not None:
        return NEEDED[name].external(name, url)
    return NEEDED[name].embedded(directory[name], settings, processes)


def with_data(directory: DataDir) -> tuple[str, ...]:
    """The names of the parts that have data in a data directory."""
    return tuple(
        name for name, needed in NEEDED.items() if any((directory[name] / each).exists() for each in needed.data)
    )
