"""Redis as a part: with a password, and durable."""

import os
import shutil
import signal
from pathlib import Path

import pytest
from redis.asyncio import Redis as Client

from cli.data_dir import DataDir
from cli.parts.redis import Redis
from cli.parts.resp import ping
from cli.status import State
from services.mesh.call.errors import FailedPrecondition
from services.mesh.testing.waiting import until
from tests.cli.conftest import Supervised

# Written by Redis 6.2.14 with `appendonly yes`: a snapshot made by BGREWRITEAOF, and commands after it.
WRITTEN_BY_6_2 = Path(__file__).with_name("redis_6_2.aof")


async def test_what_was_written_survives_a_clean_restart_of_the_stack(
    supervised: Supervised, data_dir: DataDir
) -> None:
    for turn in range(2):
        redis = Redis(data_dir["redis"])
        async with supervised(redis) as supervisor:
            await supervisor.start()
            async with Client.from_url(redis.url, decode_responses=True) as client:
                if turn == 0:
                    await client.set("key", "kept")
                assert await client.get("key") == "kept"


async def test_a_killed_redis_comes_back_on_the_same_port(supervised: Supervised, data_dir: DataDir) -> None:
    redis = Redis(data_dir["redis"])
    async with supervised(redis) as supervisor:
        await supervisor.start()
        url, pid = redis.url, supervisor.statuses[0].pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        await until(lambda: supervisor.statuses[0].restarts == 1, "the end is noticed")
        await until(lambda: supervisor.statuses[0].state is State.READY, "it is ready again")
        assert redis.url == url
        await ping(url)


async def test_a_wrong_password_is_refused_with_what_the_server_said(supervised: Supervised, data_dir: DataDir) -> None:
    redis = Redis(data_dir["redis"])
    async with supervised(redis) as supervisor:
        await supervisor.start()
        with pytest.raises(FailedPrecondition, match="WRONGPASS"):
            await ping(f"redis://:guess@127.0.0.1:{redis.port}/0")
        with pytest.raises(FailedPrecondition, match="NOAUTH"):
            await ping(f"redis://127.0.0.1:{redis.port}/0")


async def test_the_password_is_in_no_command_line(supervised: Supervised, data_dir: DataDir) -> None:
    redis = Redis(data_dir["redis"])
    launch = await redis.launch()
    password = (data_dir["redis"] / "password").read_text().strip()
    assert not any(password in word for word in launch.argv)


async def test_the_data_of_redis_6_2_is_read_and_stays(supervised: Supervised, data_dir: DataDir) -> None:
    shutil.copyfile(WRITTEN_BY_6_2, data_dir["redis"] / "appendonly.aof")
    for _ in range(2):
        redis = Redis(data_dir["redis"])
        async with supervised(redis) as supervisor:
            await supervisor.start()
            async with Client.from_url(redis.url, decode_responses=True) as client:
                assert await client.get("after") == "rewrite"
                assert await client.hgetall("h") == {"x": "1", "y": "z" * 100}
                assert await client.lrange("l", 0, -1) == [str(number) for number in range(300)]
                assert await client.zrange("z", 0, -1, withscores=True) == [("m", 1.5)]
                assert await client.xlen("st") == 51
                assert [group["pending"] for group in await client.xinfo_groups("st")] == [5]


async def test_a_redis_that_is_too_old_for_the_data_does_not_start_empty(
    data_dir: DataDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = tmp_path / "redis-server"
    old.write_text("#!/bin/sh\necho Redis server v=6.2.14 sha=40305114:0\n")
    old.chmod(0o755)
    monkeypatch.setattr("cli.parts.redis.find", lambda _: old)
    await Redis(data_dir["redis"]).launch()
    (data_dir["redis"] / "appendonlydir").mkdir()
    with pytest.raises(FailedPrecondition, match=r"6\.2\.14.*cannot read") as refused:
        await Redis(data_dir["redis"]).launch()
    assert refused.value.reason == "REDIS_VERSION_MISMATCH"
