"""Which parts a stack starts, and what each of its processes is told of them."""

from collections.abc import Iterable
from typing import Any, cast
from urllib.parse import urlsplit

import pytest
from pydantic import SecretStr

from cli.data_dir import DataDir
from cli.detached import arguments
from cli.layout import Layout
from cli.parts.control import Control
from cli.parts.external import ExternalLlm, ExternalRedis
from cli.parts.needed import NEEDED, with_data
from cli.parts.part import Part
from cli.parts.serve import Serve
from cli.stack import compose, run_stack
from services.declared import SERVICES
from services.mesh.call.errors import InvalidArgument
from services.mesh.parts import PARTS
from services.mesh.settings import Settings


def all_but(*services: str) -> tuple[str, ...]:
    return tuple(name for name in SERVICES if name not in services)


class Gateway:
    """A control plane that nobody joins."""

    registry = "127.0.0.1:7000"

    def admin(self, pid: int) -> None:
        """Nobody has joined."""

    async def close(self) -> None:
        """Nothing is open."""


async def composed(data_dir: DataDir, layout: Layout, settings: Settings | None = None) -> dict[str, Part]:
    """The parts of a stack by name; the control process is started, and nothing else."""

    async def start(_settings: Settings, _services: Iterable[str]) -> Gateway:
        return Gateway()

    own = settings or Settings(data_dir=data_dir.root)
    parts = {part.name: part for part in compose(own, data_dir, layout, start)}
    assert isinstance(parts["control"], Control)
    await parts["control"].launch()
    return parts


async def told(part: Part) -> dict[str, str]:
    """The URLs that a process is told, by the name of the part."""
    assert isinstance(part, Serve)
    env = (await part.launch()).env
    return {name: env[f"SOMA_{name.upper()}_URL"] for name in NEEDED}


def test_a_stack_can_run_every_part_that_a_service_can_ask_for() -> None:
    assert list(NEEDED) == list(PARTS)
    assert {f"{name}_url" for name in PARTS} <= set(Settings.model_fields)


@pytest.mark.parametrize(
    ("layout", "parts"),
    [
        (Layout(), ["postgres", "redis", "llm"]),
        (Layout(without=all_but("model")), ["postgres", "redis", "llm"]),
        (Layout(without=all_but("policy"), parts=["llm"]), ["redis", "llm"]),
        (Layout(without=SERVICES), []),
        (Layout(without=all_but("policy")), ["redis"]),
        (Layout(without=all_but("policy"), workers=3), ["redis"]),
        (Layout(without=all_but("edge", "policy"), apart=["edge=2"]), ["redis"]),
        (Layout(without=all_but("memory")), ["postgres", "redis"]),
        (Layout(without=all_but("policy"), parts=["postgres"]), ["postgres", "redis"]),
        (Layout(without=all_but("edge"), parts=["redis"]), ["redis"]),
    ],
)
async def test_a_part_is_in_the_stack_when_one_of_its_services_needs_it_or_the_layout_names_it(
    data_dir: DataDir, layout: Layout, parts: list[str]
) -> None:
    names = list(await composed(data_dir, layout))
    assert names == [*parts, "control", "envoy", *layout.processes()]


async def test_a_process_gets_the_urls_of_the_parts_that_its_services_need_and_waits_for_them(
    data_dir: DataDir,
) -> None:
    parts = await composed(data_dir, Layout(apart=["policy", "edge"]))
    rest, policy, edge = parts["serve"], parts["serve-policy"], parts["serve-edge"]
    redis = (await told(edge))["redis"]
    assert await told(policy) == {"postgres": "", "redis": redis, "llm": ""}
    assert policy.after == ("redis", "control")
    assert redis.startswith("redis://:")
    assert await told(edge) == {"postgres": "", "redis": redis, "llm": ""}
    assert edge.after == ("redis", "control")
    own = {"postgres": cast(Any, parts["postgres"]).settings["postgres_url"], "llm": cast(Any, parts["llm"]).url}
    assert await told(rest) == {**own, "redis": redis}
    assert set(rest.after) == {"postgres", "redis", "llm", "control"}


async def test_a_machine_without_llama_cpp_runs_a_stack_without_the_part(
    data_dir: DataDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cli.parts.needed.installed", lambda: False)
    assert "llm" not in await composed(data_dir, Layout())
    settings = Settings(data_dir=data_dir.root, llm_url=SecretStr("http://:key@model.internal:9000"))
    parts = await composed(data_dir, Layout(), settings)
    assert isinstance(parts["llm"], ExternalLlm)
    assert parts["llm"].where == "http://model.internal:9000"
    assert (await told(parts["serve"]))["llm"] == "http://:key@model.internal:9000"


async def test_an_external_part_takes_the_place_of_the_embedded_one_where_it_is_needed(data_dir: DataDir) -> None:
    url = "redis://cache:6379/0"
    settings = Settings(data_dir=data_dir.root, redis_url=SecretStr(url))
    assert "redis" not in await composed(data_dir, Layout(without=SERVICES), settings)
    parts = await composed(data_dir, Layout(without=all_but("edge")), settings)
    assert isinstance(parts["redis"], ExternalRedis)
    assert (await told(parts["serve"]))["redis"] == url


async def test_postgres_takes_the_connections_of_the_processes_that_need_it(data_dir: DataDir) -> None:
    settings = Settings(data_dir=data_dir.root, postgres_pool=10)
    parts = await composed(data_dir, Layout(apart=["memory=2", "policy=5"]), settings)
    launch = await parts["postgres"].launch()
    assert launch is not None
    # Of serve, of both of memory, of one that replaces one of them, each 10 and 5 more, and the spare ones.
    assert "max_connections=80" in launch.argv


async def test_a_process_gets_the_url_of_each_role_of_postgres_that_its_services_need(data_dir: DataDir) -> None:
    names = ("postgres_url", "postgres_system_url", "postgres_owner_url")

    async def told_roles(settings: Settings | None = None) -> list[list[str]]:
        parts = await composed(data_dir, Layout(apart=["policy"]), settings)
        launches = [await parts[name].launch() for name in ("serve", "serve-policy")]
        return [[launch.env[f"SOMA_{name.upper()}"] for name in names] for launch in launches if launch is not None]

    embedded = cast(Any, (await composed(data_dir, Layout()))["postgres"]).settings
    users = [urlsplit(embedded[name]).username for name in names]
    assert users == ["soma_app", "soma_system", "soma"]
    serve, policy = await told_roles()
    assert [urlsplit(url).username for url in serve] == users
    assert policy == ["", "", ""]
    given = {name: SecretStr(f"postgresql://{name}@db/soma") for name in names}
    serve, _ = await told_roles(Settings(data_dir=data_dir.root, **cast(Any, given)))
    assert serve == [url.get_secret_value() for url in given.values()]
    serve, _ = await told_roles(Settings(data_dir=data_dir.root, postgres_url=SecretStr("postgresql://one@db/soma")))
    assert serve == ["postgresql://one@db/soma", "", ""]


async def test_an_unknown_part_is_refused_before_anything_starts(data_dir: DataDir) -> None:
    nothing = cast(Any, None)
    with pytest.raises(InvalidArgument, match="no part 'postgress' to start; there are postgres, redis, llm"):
        await run_stack(
            Settings(data_dir=data_dir.root),
            data_dir,
            Layout(parts=["postgress"]),
            nothing,
            stop=nothing,
            asked=nothing,
            on_change=nothing,
        )
    assert not data_dir.state.exists()


def test_a_detached_stack_starts_the_same_parts(data_dir: DataDir) -> None:
    command = arguments(Settings(data_dir=data_dir.root), data_dir, Layout(parts=["postgres", "redis"]))
    assert command[command.index("--parts") + 1] == "postgres,redis"


def test_a_part_has_data_once_its_files_exist(data_dir: DataDir) -> None:
    assert with_data(data_dir) == ()
    (data_dir["redis"] / "appendonlydir").mkdir()
    assert with_data(data_dir) == ("redis",)
    (data_dir["postgres"] / "data").mkdir()
    assert with_data(data_dir) == ("postgres", "redis")
