"""The parts of a stack that services ask for by name, and how a process opens each of them.

A declaration names the parts that its service needs. The host opens only these. The command line has a table with the
same names, which says how a stack runs each part.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any, Generic, TypeVar

import redis.asyncio as aioredis

from services.mesh.settings import Settings
from services.mesh.stores import postgres, redis

C = TypeVar("C")


@dataclass(frozen=True)
class Part(Generic[C]):
    """A server that services use.

    Attributes:
        name: what declarations and `soma status` call it; its URL is the setting `<name>_url`.
        open: makes the client of a process from the URL; the client is closed with the AsyncExitStack.
        ping: returns if the part works; raises Unavailable if it does not.
    """

    name: str
    open: Callable[[str, Settings, AsyncExitStack], Awaitable[C]]
    ping: Callable[[C], Awaitable[None]]


@dataclass(frozen=True)
class Opened(Generic[C]):
    """A part as one process uses it.

    Attributes:
        client: the client that all services of the process share.
        check: the health check of the part; the services share this object too.
    """

    client: C
    check: Callable[[], Awaitable[None]]

    @classmethod
    def of(cls, part: Part[C], client: C) -> "Opened[C]":
        """A part whose client exists already."""
        return cls(client, partial(part.ping, client))


async def _open_postgres(url: str, settings: Settings, stack: AsyncExitStack) -> postgres.Database:
    system, owner = settings.postgres_system_url, settings.postgres_owner_url
    return await postgres.Database.open(
        url,
        stack,
        system_url=system.get_secret_value() if system is not None else None,
        owner_url=owner.get_secret_value() if owner is not None else None,
        max_size=settings.postgres_pool,
    )


async def _open_redis(url: str, _settings: Settings, stack: AsyncExitStack) -> aioredis.Redis:
    client = redis.open_client(url)
    stack.push_async_callback(client.aclose)
    return client


async def _open_llm(url: str, _settings: Settings, _stack: AsyncExitStack) -> str:
    # Its client is an adapter of the service that uses it.
    return url


async def _asleep(_url: str) -> None:
    """It is not asked, because a question would start it."""


POSTGRES = Part("postgres", _open_postgres, postgres.ping)
REDIS = Part("redis", _open_redis, redis.ping)
LLM = Part("llm", _open_llm, _asleep)
PARTS: Mapping[str, Part[Any]] = MappingProxyType({part.name: part for part in (POSTGRES, REDIS, LLM)})


def require_known(names: Iterable[str]) -> None:
    """Refuse unknown names of parts.

    Raises:
        ValueError: a name is unknown; the message lists all parts.
    """
    for name in names:
        if name not in PARTS:
            raise ValueError(f"there is no part {name!r}; there are {', '.join(PARTS)}")
