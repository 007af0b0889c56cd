"""The Redis client: what it makes of a server that goes away."""

import asyncio
import signal

import pytest
import redis.asyncio as aioredis

from services.mesh import errors
from services.mesh import redis as mesh_redis
from tests.servers import RedisServer


async def test_a_restart_is_a_typed_error_meanwhile_and_forgotten_afterwards(
    redis_server: RedisServer, redis: aioredis.Redis
) -> None:
    await mesh_redis.ping(redis)
    await redis_server.stop(signal.SIGKILL)
    with pytest.raises(errors.Unavailable) as away:
        await mesh_redis.ping(redis)
    assert away.value.reason == "REDIS_UNAVAILABLE"
    await redis_server.start()
    await mesh_redis.ping(redis)


async def test_a_wrong_command_is_not_called_unavailable(redis: aioredis.Redis) -> None:
    with pytest.raises(aioredis.RedisError) as raised, mesh_redis.typed_errors():
        await redis.execute_command("NOSUCH")  # type: ignore[no-untyped-call]
    assert not isinstance(raised.value, errors.MeshError)


@pytest.mark.parametrize("option", ["foo=1", "socket_timeout=soon", "ssl_cert_reqs=none"])
async def test_an_option_of_the_url_that_is_none_is_refused_before_the_first_call(redis_url: str, option: str) -> None:
    with pytest.raises(errors.FailedPrecondition, match=f"redis_url.*{option.partition('=')[0]}"):
        mesh_redis.open_client(f"{redis_url}?{option}")


async def test_a_burst_beyond_the_pool_waits_for_its_turn(redis_url: str) -> None:
    async with mesh_redis.open_client(redis_url) as client:
        counted = await asyncio.gather(*(client.incr("burst") for _ in range(4 * mesh_redis.MAX_CONNECTIONS)))
    assert sorted(counted) == list(range(1, 4 * mesh_redis.MAX_CONNECTIONS + 1))
