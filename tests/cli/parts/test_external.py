"""Parts somebody else runs."""

import pytest

from cli.data_dir import DataDir
from cli.parts.external import ExternalPostgres, ExternalRedis
from cli.parts.postgres import Postgres
from cli.parts.redis import Redis
from cli.status import State
from services.mesh.errors import Unavailable
from tests.cli.conftest import Supervised
from tests.ports import free_port


async def test_an_external_part_is_asked_never_started_and_shown_without_its_password(
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


@pytest.mark.parametrize(
    "part",
    [
        ExternalPostgres("postgres", f"postgresql://soma:x@127.0.0.1:{free_port()}/soma"),
        ExternalRedis("redis", f"redis://127.0.0.1:{free_port()}/0"),
    ],
    ids=["postgres", "redis"],
)
async def test_an_external_part_nobody_runs_fails_the_start(
    supervised: Supervised, part: ExternalPostgres | ExternalRedis
) -> None:
    part.patience = 0.2
    async with supervised(part) as supervisor:
        with pytest.raises(Unavailable, match=f"{part.name} is not ready after"):
            await supervisor.start()
