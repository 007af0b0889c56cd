"""The Redis client: errors of a server that becomes unavailable."""

import asyncio
import signal

import pytest
import redis.asyncio as aioredis

from services.mesh.call import errors
from services.mesh.stores import redis as mesh_redis
from tests.servers import RedisServer


async def test_a_restart_is_a_typed_error_until_the_server_is_back(
    redis_server: RedisServer, redis: aioredis.Redis
) -> None:
    await mesh_redis.ping(redis)
    await redis_server.stop(signal.SIGKILL)
    with pytest.raises(errors.Unavailable) as away:
        await mesh_redis.ping(redis)
    assert away.value.reason == "REDIS_UNAVAILABLE"
    await redis_server.start()
    await mesh_redis.ping(redis)


async def test_an_unknown_command_is_not_unavailable(redis: aioredis.Redis) -> None:
    with pytest.raises(aioredis.RedisError) as raised, mesh_redis.typed_errors():
        await redis.execute_command("NOSUCH")  # type: ignore[no-untyped-call]
    assert not isinstance(raised.value, errors.MeshError)


@pytest.mark.parametrize("option", ["foo=1", "socket_timeout=soon", "ssl_cert_reqs=none"])
async def test_an_invalid_option_of_the_url_is_refused_before_the_first_call(redis_url: str, option: str) -> None:
    with pytest.raises(errors.FailedPrecondition, match=f"redis_url.*{option.partition('=')[0]}"):
        mesh_redis.open_client(f"{redis_url}?{option}")


async def test_a_burst_beyond_the_pool_waits_for_its_turn(redis_url: str) -> None:
    async with mesh_redis.open_client(redis_url) as client:
        counted = await asyncio.gather(*(client.incr("burst") for _ in range(4 * mesh_redis.MAX_CONNECTIONS)))
    assert sorted(counted) == list(range(1, 4 * mesh_redis.MAX_CONNECTIONS + 1))


SCRIPT = "return redis.call('SET', KEYS[1], 'x')"


async def refusals(client: aioredis.Redis) -> set[str]:
    """The reasons for which a command, a script, a pipeline and the health check fail."""
    reasons = set()

    async def script() -> None:
        await client.eval(SCRIPT, 1, "key")

    async def pipeline() -> None:
        async with client.pipeline(transaction=False) as piped:
            piped.set("key", "x")
            await piped.execute()

    async def plain() -> None:
        await client.set("key", "x")

    async def ping() -> None:
        await mesh_redis.ping(client)

    for write in (plain, script, pipeline, ping):
        with pytest.raises(errors.Unavailable) as refused, mesh_redis.typed_errors():
            await write()
        assert refused.value.facts.metadata == {"store": "redis"}
        reasons.add(refused.value.reason)
    return reasons


async def test_a_server_out_of_memory_is_reported_until_it_has_some(redis: aioredis.Redis) -> None:
    await redis.config_set("maxmemory", 1)
    try:
        assert await refusals(redis) == {"REDIS_OUT_OF_MEMORY"}
    finally:
        await redis.config_set("maxmemory", 0)
    await mesh_redis.ping(redis)


async def test_a_replica_is_reported_until_it_accepts_writes(redis: aioredis.Redis, unused_tcp_port: int) -> None:
    await redis.execute_command("REPLICAOF", "127.0.0.1", unused_tcp_port)  # type: ignore[no-untyped-call]
    try:
        assert await refusals(redis) == {"REDIS_READ_ONLY"}
    finally:
        await redis.execute_command("REPLICAOF", "NO", "ONE")  # type: ignore[no-untyped-call]
    await mesh_redis.ping(redis)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("MISCONF Errors writing to the AOF file: No space left on device", "STORAGE_FULL"),
        ("MISCONF Errors writing to the AOF file: Input/output error", "REDIS_IO_ERROR"),
        (
            "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist on disk.",
            "REDIS_IO_ERROR",
        ),
        ("NOREPLICAS Not enough good replicas to write.", "REDIS_UNAVAILABLE"),
    ],
)
def test_an_error_of_the_servers_state_has_a_reason(answer: str, reason: str) -> None:
    with pytest.raises(errors.Unavailable) as refused, mesh_redis.typed_errors():
        raise aioredis.ResponseError(f"Command # 1 (XADD soma) of pipeline caused error: {answer}")
    assert refused.value.reason == reason
