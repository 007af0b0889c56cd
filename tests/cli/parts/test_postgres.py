"""Postgres as a part: durable, with pgvector, with a password, and restarted after any failure."""

import os
import signal
import stat
import subprocess
from pathlib import Path

import asyncpg
import pytest

from cli.data_dir import DataDir
from cli.parts.account import Account
from cli.parts.cluster import take_over_lock
from cli.parts.part import Launch
from cli.parts.postgres import ROLES, Postgres, database_url
from cli.parts.postgres import settings as urls_of
from cli.parts.process import Process
from cli.status import State
from cli.stores import run_tool
from services.mesh.call.errors import FailedPrecondition
from services.mesh.testing.waiting import until
from tests.cli.conftest import Supervised

# A program that every user may run and that does not end.
WAITS = ("/usr/bin/tail", "-f", "/dev/null")
# Variables for another Postgres, read by clients and by the server.
ANOTHER = {
    "PGSSLMODE": "verify-full",
    "PGSSLNEGOTIATION": "direct",
    "PGTARGETSESSIONATTRS": "standby",
    "PGGSSLIB": "none",
    "PGSERVICE": "other",
    "PGHOST": "192.0.2.1",
    "PGPORT": "1",
    "PGDATA": "/nowhere",
    "PGDATESTYLE": "German",
    "PGCLIENTENCODING": "SJIS",
    "PGOPTIONS": "-c nonsense=1",
    "LC_ALL": "nowhere",
    "TZ": "Nowhere/Nothing",
}


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
        await until(lambda: supervisor.statuses[0].restarts == 1, "the end is noticed")
        await until(lambda: supervisor.statuses[0].state is State.READY, "it is ready again")
        assert postgres.url == url
        connection.terminate()
    again = Postgres(data_dir["postgres"])
    async with supervised(again) as supervisor:
        await supervisor.start()
        connection = await asyncpg.connect(again.url)
        assert await connection.fetchval("SELECT v::text FROM kept ORDER BY v <-> '[1,2]' LIMIT 1") == "[1,2]"
        await connection.close()


async def test_services_get_roles_that_own_nothing_each_with_a_password(
    supervised: Supervised, data_dir: DataDir
) -> None:
    postgres = Postgres(data_dir["postgres"])
    async with supervised(postgres) as supervisor:
        await supervisor.start()
        urls = postgres.settings
        assert urls == urls_of(data_dir["postgres"], postgres.port)
        assert urls["postgres_owner_url"] == postgres.url
        for role, (setting, file) in ROLES.items():
            connection = await asyncpg.connect(urls[setting])
            above = "SELECT rolsuper OR rolbypassrls OR rolcreaterole FROM pg_roles WHERE rolname = current_user"
            assert await connection.fetchval("SELECT current_user::text") == role
            assert await connection.fetchval(above) is False
            await connection.close()
            assert stat.S_IMODE((data_dir["postgres"] / file).stat().st_mode) == 0o600
            with pytest.raises(asyncpg.InvalidPasswordError):
                await asyncpg.connect(
                    host="127.0.0.1", port=postgres.port, user=role, database="soma", password="guess"
                )
    # A password that is lost is replaced at the next start.
    (data_dir["postgres"] / "app.password").unlink()
    again = Postgres(data_dir["postgres"])
    async with supervised(again) as supervisor:
        await supervisor.start()
        connection = await asyncpg.connect(again.settings["postgres_url"])
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


async def test_an_interrupted_initialisation_starts_again(supervised: Supervised, data_dir: DataDir) -> None:
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
    assert first.partition("?")[0].endswith("@127.0.0.1:5432/soma")
    assert database_url(tmp_path, 5432) == first


async def test_variables_for_another_postgres_have_no_effect(
    supervised: Supervised, data_dir: DataDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in ANOTHER.items():
        monkeypatch.setenv(name, value)
    # A home directory with unusable certificates, in place of one that cannot be read, because root reads everything.
    certificates = tmp_path / "home" / ".postgresql"
    certificates.mkdir(parents=True)
    for name in ("root.crt", "root.crl", "postgresql.crt", "postgresql.key"):
        (certificates / name).write_text("no certificate")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    postgres = Postgres(data_dir["postgres"])
    async with supervised(postgres) as supervisor:
        await supervisor.start()
        connection = await asyncpg.connect(postgres.url)
        assert await connection.fetchval("SELECT reset_val FROM pg_settings WHERE name = 'DateStyle'") == "ISO, MDY"
        await connection.close()
        await run_tool("pg_dump", ["--schema-only", f"--file={tmp_path / 'dump'}"], postgres.url)
    assert "PostgreSQL database dump" in (tmp_path / "dump").read_text()


async def test_a_wrong_password_is_reported_at_once(supervised: Supervised, data_dir: DataDir) -> None:
    async with supervised(Postgres(data_dir["postgres"])) as supervisor:
        await supervisor.start()
    (data_dir["postgres"] / "password").unlink()
    again = Postgres(data_dir["postgres"])
    again.patience = 1e9
    async with supervised(again) as supervisor:
        with pytest.raises(FailedPrecondition, match=r"password authentication failed.*postgres/password") as refused:
            await supervisor.start()
    assert refused.value.reason == "POSTGRES_REFUSED"


async def test_a_lock_whose_pid_another_process_has_now_is_taken_over(
    supervised: Supervised, data_dir: DataDir
) -> None:
    first = Postgres(data_dir["postgres"])
    lock = data_dir["postgres"] / "data" / "postmaster.pid"
    async with supervised(first) as supervisor:
        await supervisor.start()
        kept = lock.read_text().splitlines(keepends=True)
        owner = lock.stat()
    # The process belongs to Postgres's user. With another user, Postgres would know that the lock is stale.
    account = Account("same", owner.st_uid, owner.st_gid) if owner.st_uid != os.geteuid() else None
    other = await Process.start(Launch([*WAITS], account=account), subprocess.DEVNULL)
    try:
        for left in ("".join([f"{other.pid}\n", *kept[1:]]), ""):
            lock.write_text(left)
            os.chown(lock, owner.st_uid, owner.st_gid)
            lock.chmod(0o600)
            async with supervised(Postgres(data_dir["postgres"])) as supervisor:
                await supervisor.start()
            assert not lock.exists()
        assert not other.ended
    finally:
        await other.stop(signal.SIGKILL, 1.0)


async def test_the_lock_of_a_living_server_is_left_alone(supervised: Supervised, data_dir: DataDir) -> None:
    async with supervised(Postgres(data_dir["postgres"])) as supervisor:
        await supervisor.start()
        lock = data_dir["postgres"] / "data" / "postmaster.pid"
        before = lock.read_text()
        take_over_lock(data_dir["postgres"] / "data")
        assert lock.read_text() == before
