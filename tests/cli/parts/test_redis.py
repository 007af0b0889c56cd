"""Redis as a part: behind a password, and durable."""

import os
import signal

import pytest
from redis.asyncio import Redis as Client

from cli.data_dir import DataDir
from cli.parts.redis import Redis
from cli.parts.resp import ping
from cli.status import State
from services.mesh.errors import Unavailable
from tests.cli.conftest import Supervised
from tests.cli.eventually import eventually


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


async def test_it_comes_back_on_the_same_port(supervised: Supervised, data_dir: DataDir) -> None:
    redis = Redis(data_dir["redis"])
    async with supervised(redis) as supervisor:
        await supervisor.start()
        url, pid = redis.url, supervisor.statuses[0].pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        await eventually(lambda: supervisor.statuses[0].restarts == 1, "the end is noticed")
        await eventually(lambda: supervisor.statuses[0].state is State.READY, "it is ready again")
        assert redis.url == url
        await ping(url)


async def test_a_wrong_password_is_unavailable_with_what_the_server_said(
    supervised: Supervised, data_dir: DataDir
) -> None:
    redis = Redis(data_dir["redis"])
    async with supervised(redis) as supervisor:
        await supervisor.start()
        with pytest.raises(Unavailable, match="WRONGPASS"):
            await ping(f"redis://:guess@127.0.0.1:{redis.port}/0")
        with pytest.raises(Unavailable, match="NOAUTH"):
            await ping(f"redis://127.0.0.1:{redis.port}/0")


async def test_the_password_is_in_no_command_line(supervised: Supervised, data_dir: DataDir) -> None:
    redis = Redis(data_dir["redis"])
    launch = await redis.launch()
    password = (data_dir["redis"] / "password").read_text().strip()
    assert not any(password in word for word in launch.argv)
