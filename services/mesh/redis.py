"""The process's Redis client, and the one place where a lost connection becomes a typed error."""

from collections.abc import Iterator
from contextlib import contextmanager

import redis.asyncio as aioredis
from redis import exceptions
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from services.mesh import errors

CONNECT_SECONDS = 2.0
COMMAND_SECONDS = 5.0
RETRY_SECONDS = 1.0
MAX_CONNECTIONS = 64

_LOST = (exceptions.ConnectionError, exceptions.TimeoutError, OSError)


def open_client(url: str, *, client_name: str = "soma") -> aioredis.Redis:
    """A client with a pool of its own; connects when first used, and again after the server was away.

    A command whose connection turns out to be lost is sent a second time: what is not idempotent can then happen twice.

    Raises:
        FailedPrecondition: the URL has options that Redis's client does not know.
    """
    try:
        # A burst waits for a connection; a pool that does not block would refuse what is beyond its size.
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
        # Options are looked at where a connection is made, which would be in the first call that needs one.
        pool.make_connection()  # type: ignore[no-untyped-call]
    except (TypeError, ValueError) as error:
        raise errors.FailedPrecondition(
            f"redis_url has an option that is none: {error}", reason="REDIS_URL_INVALID"
        ) from error
    return aioredis.Redis.from_pool(pool)


@contextmanager
def typed_errors() -> Iterator[None]:
    """Turn a lost or refused connection into Unavailable.

    Raises:
        Unavailable: reason REDIS_UNAVAILABLE.
    """
    try:
        yield
    except _LOST as error:
        raise errors.Unavailable(
            "the cache cannot be reached now", reason="REDIS_UNAVAILABLE", retry_after=RETRY_SECONDS
        ) from error


async def ping(client: aioredis.Redis) -> None:
    """Answer when Redis does.

    Raises:
        Unavailable: it does not.
    """
    with typed_errors():
        await client.ping()
