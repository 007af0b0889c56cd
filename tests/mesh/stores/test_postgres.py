"""The pool: JSON, times, and errors of a server that becomes unavailable."""

import asyncio
import signal
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import asyncpg
import pytest

from services.mesh.call import errors
from services.mesh.stores import postgres
from services.mesh.testing.waiting import until
from tests.servers import PostgresServer

if TYPE_CHECKING:
    from tests.databases import OwnedDatabase


async def test_json_values_come_back_as_they_went_in(database: "OwnedDatabase") -> None:
    value = {"text": "ü\n", "big": 2**80, "nested": [{"a": None}, 1.5, True]}
    async with database.system.connection() as connection:
        assert await connection.fetchval("SELECT $1::jsonb", value) == value
        assert await connection.fetchval("SELECT $1::json", None) is None


async def test_a_failed_block_leaves_nothing_behind(database: "OwnedDatabase") -> None:
    await database.execute("CREATE TABLE note (text text)")

    async def fail_halfway() -> None:
        async with database.system.transaction() as connection:
            await connection.execute("INSERT INTO note VALUES ('half')")
            raise LookupError

    with pytest.raises(LookupError):
        await fail_halfway()
    assert await database.fetchval("SELECT count(*) FROM note") == 0


async def test_opening_a_pool_fails_with_a_reason_when_nothing_listens_on_the_port(unused_tcp_port: int) -> None:
    with pytest.raises(errors.Unavailable) as refused:
        await postgres.open_pool(f"postgresql://postgres@127.0.0.1:{unused_tcp_port}/postgres")
    assert refused.value.reason == "POSTGRES_UNAVAILABLE"


@pytest.mark.parametrize("wrong", ["/nosuch", "/postgres?sslmode=perhaps", "/postgres?nosuch=1", "user"])
async def test_a_url_that_the_server_refuses_is_a_failed_precondition_without_the_password(
    postgres_url: str, wrong: str
) -> None:
    parts = urlsplit(postgres_url)
    server = f"{parts.scheme}://{parts.netloc}"
    hosts = parts.netloc.rpartition("@")[2]
    url = f"{parts.scheme}://nosuch:hunter2@{hosts}/postgres" if wrong == "user" else f"{server}{wrong}"
    with pytest.raises(errors.FailedPrecondition, match="the Postgres of postgres_url") as refused:
        await postgres.open_pool(url)
    assert refused.value.reason == "POSTGRES_REFUSED"
    assert "hunter2" not in refused.value.message


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
async def test_a_restart_is_a_typed_error_until_the_server_is_back(
    postgres_server: PostgresServer, database: "OwnedDatabase", how: signal.Signals
) -> None:
    async def in_flight() -> None:
        async with database.system.connection() as connection:
            await connection.execute("SELECT pg_sleep(30)")

    running = [asyncio.create_task(in_flight()) for _ in range(3)]
    await until(lambda: busy(database, 3))
    await postgres_server.stop(how)
    outcomes = await asyncio.gather(*running, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [errors.Unavailable] * 3
    with pytest.raises(errors.Unavailable) as away:
        await postgres.ping(database)
    assert away.value.reason == "POSTGRES_UNAVAILABLE"
    assert away.value.facts.retry_after is not None
    await postgres_server.start()
    await postgres.ping(database)


def test_a_connection_that_the_server_has_closed_is_unavailable() -> None:
    words = "cannot switch to state 15; another operation ({}) is in progress"
    with pytest.raises(errors.Unavailable), postgres.typed_errors():
        raise asyncpg.InternalClientError(words.format(2))
    # Two statements at once on one connection are a bug in the caller.
    with pytest.raises(asyncpg.InternalClientError), postgres.typed_errors():
        raise asyncpg.InternalClientError(words.format(11))


async def test_an_error_in_a_statement_is_not_unavailable(database: "OwnedDatabase") -> None:
    with pytest.raises(Exception, match="nowhere") as raised:
        async with database.system.connection() as connection:
            await connection.execute("SELECT * FROM nowhere")
    assert not isinstance(raised.value, errors.MeshError)


async def test_a_pool_without_a_free_connection_is_unavailable_in_time(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "ACQUIRE_SECONDS", 0.05)
    async with AsyncExitStack() as stack:
        database = await postgres.Database.open(postgres_url, stack, max_size=1)
        async with database.tenants.connection("acme"):
            with pytest.raises(errors.Unavailable):
                await postgres.ping(database)
        await postgres.ping(database)


async def busy(database: "OwnedDatabase", count: int) -> bool:
    pool = database.system._pool
    return pool.get_size() - pool.get_idle_size() >= count


async def in_data(database: "OwnedDatabase | postgres.Pool", relative: str) -> Path:
    return Path(await database.fetchval("SELECT current_setting('data_directory')")) / relative


async def test_a_full_disk_is_reported_at_once_and_ends_once_there_is_room(database: "OwnedDatabase") -> None:
    await database.execute("CREATE TABLE note (text text)")
    table = await in_data(database, await database.fetchval("SELECT pg_relation_filepath('note')"))
    # Every write to this device fails as if the disk were full.
    table.unlink()
    table.symlink_to("/dev/full")
    with pytest.raises(errors.Unavailable, match="disk is full") as full:
        async with database.system.connection() as connection:
            await connection.execute("INSERT INTO note VALUES ('one')")
    assert (full.value.reason, full.value.facts.metadata) == ("STORAGE_FULL", {"store": "postgres"})
    assert full.value.facts.retry_after == errors.STORAGE_FULL_SECONDS
    table.unlink()
    table.touch()
    table.chmod(0o666)
    # The server's processes still have the device open.
    await database.system._pool.expire_connections()
    async with database.system.connection() as connection:
        await connection.execute("INSERT INTO note VALUES ('two')")
        assert await connection.fetchval("SELECT text FROM note") == "two"


async def test_health_notices_a_full_disk_although_the_server_answers(postgres_url: str) -> None:
    async with AsyncExitStack() as stack:
        database = await postgres.Database.open(postgres_url, stack, max_size=1)
        pool = database.system._pool
        await postgres.ping(database)
        folder = await in_data(pool, "base/pgsql_tmp")
        process = await pool.fetchval("SELECT pg_backend_pid()")
        full = [folder / f"pgsql_tmp{process}.{number}" for number in range(10)]
        for path in full:
            path.symlink_to("/dev/full")
        assert await pool.fetchval("SELECT 1") == 1
        with pytest.raises(errors.Unavailable) as told:
            await postgres.ping(database)
        assert told.value.reason == "STORAGE_FULL"
        for path in full:
            path.unlink(missing_ok=True)
        await postgres.ping(database)
        assert await pool.fetchval("SHOW work_mem") != "64kB"


async def test_a_read_only_server_is_unavailable_and_not_healthy(postgres_url: str, database: "OwnedDatabase") -> None:
    await database.execute("CREATE TABLE note (text text)")
    name = postgres_url.rpartition("/")[2]
    await database.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
    async with AsyncExitStack() as stack:
        read_only = await postgres.Database.open(postgres_url, stack)
        with pytest.raises(errors.Unavailable) as written:
            async with read_only.tenants.connection("acme") as connection:
                await connection.execute("INSERT INTO note VALUES ('one')")
        with pytest.raises(errors.Unavailable) as asked:
            await postgres.ping(read_only)
    assert written.value.reason == asked.value.reason == "POSTGRES_READ_ONLY"


async def test_an_exceeded_limit_of_the_server_is_a_typed_error(postgres_url: str) -> None:
    async with AsyncExitStack() as stack:
        # Only a superuser may set this limit.
        database = await postgres.Database.open(postgres_url, stack)
        with pytest.raises(errors.Unavailable) as limited:
            async with database.system.connection() as connection:
                await connection.execute(
                    "SET LOCAL temp_file_limit = 0; SET LOCAL work_mem = '64kB';"
                    " SELECT count(*) FROM generate_series(1, 9999)"
                )
    assert limited.value.reason == "POSTGRES_OUT_OF_RESOURCES"
