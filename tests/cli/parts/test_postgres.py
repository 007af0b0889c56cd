"""Postgres as a part: durable, with pgvector, behind a password, and back after anything."""

import os
import signal
import stat
from pathlib import Path

import asyncpg
import pytest

from cli.data_dir import DataDir
from cli.parts.postgres import Postgres, database_url
from cli.status import State
from services.mesh.errors import FailedPrecondition
from tests.cli.conftest import Supervised
from tests.cli.eventually import eventually


async def test_what_was_committed_survives_a_kill_and_a_restart_of_the_stack(
    supervised: Supervised, data_dir: DataDir
) -> None:
    postgres = Postgres(data_dir["postgres"])
    async with supervised(postgres) as supervisor:
        await supervisor.start()
        url = postgres.url
        connection = await asyncpg.connect(url)
        await connection.execute("CREATE EXTENSION vector")
        await connection.execute("CREATE TABLE kept (v vector(2)); INSERT INTO kept VALUES ('[1,2]')")
        pid = supervisor.statuses[0].pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        await eventually(lambda: supervisor.statuses[0].restarts == 1, "the end is noticed")
        await eventually(lambda: supervisor.statuses[0].state is State.READY, "it is ready again")
        assert postgres.url == url
        connection.terminate()
    again = Postgres(data_dir["postgres"])
    async with supervised(again) as supervisor:
        await supervisor.start()
        connection = await asyncpg.connect(again.url)
        assert await connection.fetchval("SELECT v::text FROM kept ORDER BY v <-> '[1,2]' LIMIT 1") == "[1,2]"
        await connection.close()


async def test_a_connection_needs_the_password_and_no_socket_lies_around(
    supervised: Supervised, data_dir: DataDir
) -> None:
    postgres = Postgres(data_dir["postgres"])
    async with supervised(postgres) as supervisor:
        await supervisor.start()
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(host="127.0.0.1", port=postgres.port, user="soma", database="soma", password="guess")
        connection = await asyncpg.connect(postgres.url)
        settings = {
            name: await connection.fetchval("SELECT current_setting($1)", name)
            for name in ("fsync", "synchronous_commit", "listen_addresses", "unix_socket_directories")
        }
        await connection.close()
    assert settings == {
        "fsync": "on",
        "synchronous_commit": "on",
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": "",
    }
    assert stat.S_IMODE((data_dir["postgres"] / "password").stat().st_mode) == 0o600
    assert not (data_dir["postgres"] / "new.password").exists()


async def test_an_interrupted_initialisation_is_begun_anew(supervised: Supervised, data_dir: DataDir) -> None:
    (data_dir["postgres"] / "new").mkdir()
    (data_dir["postgres"] / "new" / "PG_VERSION").write_text("half")
    (data_dir["postgres"] / "new.password").write_text("old")
    async with supervised(Postgres(data_dir["postgres"])) as supervisor:
        await supervisor.start()
        assert supervisor.statuses[0].state is State.READY
    assert not (data_dir["postgres"] / "new").exists()


async def test_data_of_another_major_version_is_refused_and_left_alone(
    supervised: Supervised, data_dir: DataDir
) -> None:
    data = data_dir["postgres"] / "data"
    data.mkdir()
    (data / "PG_VERSION").write_text("9\n")
    async with supervised(Postgres(data_dir["postgres"])) as supervisor:
        with pytest.raises(FailedPrecondition, match="made by Postgres 9") as refused:
            await supervisor.start()
    assert refused.value.reason == "POSTGRES_VERSION_MISMATCH"
    assert [path.name for path in data.iterdir()] == ["PG_VERSION"]


def test_the_url_names_the_database_and_the_kept_password(tmp_path: Path) -> None:
    first = database_url(tmp_path, 5432)
    assert first.endswith("@127.0.0.1:5432/soma")
    assert database_url(tmp_path, 5432) == first
