"""The Redis client of a process, and the typed errors for a server that is lost or refuses."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import redis.asyncio as aioredis
from redis import exceptions
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from soma.errors.v1 import reasons

from services.mesh.call import errors
from services.mesh.stores import disk

CONNECT_SECONDS = 2.0
COMMAND_SECONDS = 5.0
RETRY_SECONDS = 1.0
MAX_CONNECTIONS = 64

_LOST = (exceptions.ConnectionError, exceptions.TimeoutError, OSError)
_STORAGE_FULL = (
    reasons.STORAGE_FULL,
    "the cache's disk is full, so nothing can be stored; make room on the disk of Redis, and it goes on",
    errors.STORAGE_FULL_SECONDS,
)
# Errors of a server that concern the server itself and not the command. They may stand anywhere in the answer, because
# scripts and pipelines put other words before them.
_REFUSED: tuple[tuple[re.Pattern[str], tuple[str, str, float]], ...] = (
    (
        re.compile(r"\bMISCONF .*No space left"),
        _STORAGE_FULL,
    ),
    (
        re.compile(r"\bMISCONF "),
        (
            reasons.REDIS_IO_ERROR,
            "the cache cannot write its files, so it takes no writes; the log of Redis says why",
            RETRY_SECONDS,
        ),
    ),
    (
        re.compile(r"\bOOM "),
        (
            reasons.REDIS_OUT_OF_MEMORY,
            "the cache has used all the memory it may (maxmemory of Redis), so it takes no writes",
            RETRY_SECONDS,
        ),
    ),
    (
        re.compile(r"\bREADONLY "),
        (
            reasons.REDIS_READ_ONLY,
            "the cache takes no writes now, as a replica does; SOMA_REDIS_URL must lead to the primary",
            RETRY_SECONDS,
        ),
    ),
    (
        re.compile(r"\b(NOREPLICAS|MASTERDOWN|CLUSTERDOWN|TRYAGAIN|LOADING) "),
        (
            reasons.REDIS_UNAVAILABLE,
            "the cache cannot work now; it waits for other servers of its own, or reads its data",
            RETRY_SECONDS,
        ),
    ),
)


def open_client(url: str, *, client_name: str = "soma") -> aioredis.Redis:
    """A client with a pool of its own; it connects when it is first used, and again after the server was away.

    A command whose connection is lost is sent a second time, so a command that is not idempotent may run twice.

    Raises:
        FailedPrecondition: the URL has options that Redis's client does not know.
    """
    try:
        # In a burst, commands wait for a connection; a pool that does not block would refuse them.
        pool: aioredis.BlockingConnectionPool = aioredis.BlockingConnectionPool.from_url(
            url,
            timeout=COMMAND_SECONDS,
            client_name=client_name,
            max_connections=MAX_CONNECTIONS,
            socket_connect_timeout=CONNECT_SECONDS,
            socket_timeout=COMMAND_SECONDS,
            socket_keepalive=True,
            retry=Retry(NoBackoff(), 1),
        )
        # The options are checked only when a connection is made, which would otherwise be in the first call.
        pool.make_connection()  # type: ignore[no-untyped-call]
    except (TypeError, ValueError) as error:
        raise errors.FailedPrecondition(
            f"redis_url has an option that is none: {error}", reason=reasons.REDIS_URL_INVALID
        ) from error
    return aioredis.Redis.from_pool(pool)


@contextmanager
def typed_errors() -> Iterator[None]:
    """Turn a lost or refused connection, and a server that cannot work, into Unavailable.

    Raises:
        Unavailable: reason REDIS_UNAVAILABLE, or STORAGE_FULL, REDIS_IO_ERROR, REDIS_OUT_OF_MEMORY, REDIS_READ_ONLY.
    """
    try:
        yield
    except _LOST as error:
        if disk.full("redis"):
            raise _error(*_STORAGE_FULL) from error
        raise _error(reasons.REDIS_UNAVAILABLE, "the cache cannot be reached now", RETRY_SECONDS) from error
    except exceptions.ResponseError as error:
        answer = answer_of(error)
        for words, what in _REFUSED:
            if words.search(answer):
                raise _error(*what) from error
        raise


def answer_of(error: exceptions.ResponseError) -> str:
    """The whole answer of Redis; its client removes the first word if it knows it."""
    return f"{error.status_code or ''} {error}"


def _error(reason: str, message: str, seconds: float) -> errors.Unavailable:
    return errors.Unavailable(message, reason=reason, metadata={"store": "redis"}, retry_after=seconds)


async def ping(client: aioredis.Redis) -> None:
    """Return if Redis answers and takes writes.

    Raises:
        Unavailable: it does not.
    """
    with typed_errors():
        await client.set("soma:written", 1, ex=60)
