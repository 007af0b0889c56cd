"""Parts that somebody else runs."""

import socket

import pytest

from cli.data_dir import DataDir
from cli.parts.external import ExternalPostgres, ExternalRedis
from cli.parts.postgres import Postgres
from cli.parts.redis import Redis
from cli.status import State
from services.mesh.call.errors import FailedPrecondition, InvalidArgument, Unavailable
from tests.cli.conftest import Supervised
from tests.ports import free_port


async def test_an_external_part_is_probed_never_started_and_shown_without_its_password(
    supervised: Supervised, data_dir: DataDir
) -> None:
    postgres, redis = Postgres(data_dir["postgres"]), Redis(data_dir["redis"])
    async with supervised(postgres, redis) as running:
        await running.start()
        outside = ExternalPostgres("postgres", postgres.url), ExternalRedis("redis", redis.url)
        async with supervised(*outside) as supervisor:
            await supervisor.start()
            seen = supervisor.statuses
        assert [status.state for status in seen] == [State.READY, State.READY]
        assert [status.pid for status in seen] == [None, None]
        assert [status.where for status in seen] == [
            f"postgresql://127.0.0.1:{postgres.port}/soma",
            f"redis://127.0.0.1:{redis.port}/0",
        ]
        assert seen[0].version is not None
        assert seen[0].version.startswith("18.")
        assert [status.state for status in running.statuses] == [State.READY, State.READY]


def test_several_hosts_of_a_postgres_are_shown_without_its_password() -> None:
    part = ExternalPostgres("postgres", "postgresql://soma:hunter2@db1:5432,db2:5433/soma")
    assert (part.where, part.port) == ("postgresql://db1:5432,db2:5433/soma", None)


@pytest.mark.parametrize(
    "part",
    [
        ExternalPostgres("postgres", f"postgresql://soma:x@127.0.0.1:{free_port()}/soma"),
        ExternalRedis("redis", f"redis://127.0.0.1:{free_port()}/0"),
    ],
    ids=["postgres", "redis"],
)
async def test_an_unreachable_external_part_fails_the_start(
    supervised: Supervised, part: ExternalPostgres | ExternalRedis
) -> None:
    part.patience = 0.2
    async with supervised(part) as supervisor:
        with pytest.raises(Unavailable, match=f"{part.name} is not ready after"):
            await supervisor.start()


async def test_a_permanent_refusal_of_postgres_is_reported_at_once(
    supervised: Supervised, data_dir: DataDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    postgres = Postgres(data_dir["postgres"])
    async with supervised(postgres) as running:
        await running.start()
        plain = postgres.url.partition("?")[0]
        password = plain.split(":")[2].partition("@")[0]

        async def refused(url: str) -> str:
            part = ExternalPostgres("postgres", url)
            part.patience = 1e9
            async with supervised(part) as supervisor:
                with pytest.raises(FailedPrecondition, match="SOMA_POSTGRES_URL") as error:
                    await supervisor.start()
            assert error.value.reason == "POSTGRES_REFUSED"
            assert password not in error.value.message
            return error.value.message

        assert "password authentication failed" in await refused(plain.replace(password, "guess"))
        assert '"nothing" does not exist' in await refused(plain.removesuffix("soma") + "nothing")
        assert "rejected SSL upgrade" in await refused(f"{plain}?sslmode=require")
        assert "sslmode" in await refused(f"{plain}?sslmode=sometimes")
        assert "sslcert" in await refused(f"{plain}?sslmode=require&sslcert=/nowhere/client.crt")
        # The environment sets what the URL does not.
        monkeypatch.setenv("PGSSLMODE", "require")
        assert "rejected SSL upgrade" in await refused(plain)


async def test_a_permanent_refusal_of_redis_is_reported_at_once(supervised: Supervised, data_dir: DataDir) -> None:
    redis = Redis(data_dir["redis"])
    async with supervised(redis) as running:
        await running.start()

        async def refused(url: str) -> str:
            part = ExternalRedis("redis", url)
            part.patience = 1e9
            async with supervised(part) as supervisor:
                with pytest.raises(FailedPrecondition, match="SOMA_REDIS_URL") as error:
                    await supervisor.start()
            assert error.value.reason == "REDIS_REFUSED"
            return error.value.message

        assert "WRONGPASS" in await refused(f"redis://:guess@127.0.0.1:{redis.port}/0")
        assert "NOAUTH" in await refused(f"redis://127.0.0.1:{redis.port}")
        assert "out of range" in await refused(f"{redis.url.removesuffix('/0')}/99")


@pytest.mark.parametrize("part", [ExternalPostgres, ExternalRedis])
@pytest.mark.parametrize(
    "url",
    ["soma:hush@db/soma", "http://soma:hush@db/soma", "postgres+redis://db", "{}://soma:hu/sh@db/x", "{}://[::1/x"],
)
def test_an_invalid_url_is_refused_without_showing_it(part: type[ExternalPostgres], url: str) -> None:
    name = "postgres" if part is ExternalPostgres else "redis"
    with pytest.raises(InvalidArgument, match=f"SOMA_{name.upper()}_URL") as refused:
        part(name, url.format(part.schemes[0]))
    assert refused.value.reason == f"{name.upper()}_URL_INVALID"
    assert "hu" not in refused.value.message


def test_a_postgres_may_have_several_hosts() -> None:
    part = ExternalPostgres("postgres", "postgresql://soma:hush@one:5432,two:5433/soma")
    assert part.where == "postgresql://one:5432,two:5433/soma"
    assert part.port is None


async def test_a_server_that_does_not_answer_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        address = f"127.0.0.1:{mute.getsockname()[1]}"
        parts = (
            ExternalPostgres("postgres", f"postgresql://u:p@{address}/x"),
            ExternalRedis("redis", f"redis://{address}"),
        )
        for part in parts:
            with pytest.raises(Unavailable, match=f"{address}.* does not answer in 3 s"):
                await part.probe(None)
