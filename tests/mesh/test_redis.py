"""The Redis client: what it makes of a server that goes away."""

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
