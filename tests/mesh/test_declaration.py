"""Declarations of services: there is one list of them, and a service reaches only the neighbours it names."""

import subprocess
import sys
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
from soma.events.v1.event_pb2 import Event

import services
from gateway.contracts import area, public_services
from services.declared import SERVICES, _written, declarations, declared, needed, require_sent, schemas, used
from services.mesh.call.errors import InvalidArgument
from services.mesh.declaration import Declaration, NoSettings
from services.mesh.events.consumer import Consumer
from services.mesh.mesh import Mesh
from services.mesh.parts import LLM, PARTS, POSTGRES, Opened, Part
from services.mesh.process.jobs import Job
from services.mesh.service import Service
from services.mesh.settings import SomaSettings
from services.mesh.stores.migrations import migrate

if TYPE_CHECKING:
    from services.mesh.stores.postgres import Connection
    from tests.databases import OwnedDatabase


BOTH = ("postgres", "redis")


@dataclass(frozen=True)
class Colours:
    """Settings of a service."""

    wall: str = "white"


def mesh(asked: list[str], database: "OwnedDatabase | None" = None) -> Mesh:
    """A mesh that records the names of the services that are connected; its parts are nothing, but for `database`."""

    def connect(service: str) -> Any:
        asked.append(service)

    nothing = cast(Any, None)
    parts = {name: Opened.of(part, database if name == "postgres" else nothing) for name, part in PARTS.items()}
    return Mesh(nothing, Path("data"), parts, nothing, nothing, nothing, connect, nothing, nothing, nothing)


async def test_a_service_is_built_with_its_settings_and_can_connect_to_its_neighbours() -> None:
    asked: list[str] = []
    seen: list[object] = []

    async def build(mesh: Mesh, settings: Colours, stack: AsyncExitStack) -> Service:
        mesh.connect("memory")
        seen.extend((settings, stack, mesh.data_dir))
        return Service()

    declaration = Declaration("painter", build, Colours, neighbours=("memory",))
    async with AsyncExitStack() as stack:
        assert await declaration.built(mesh(asked), Colours(wall="green"), stack) == Service()
        assert seen == [Colours(wall="green"), stack, Path("data")]
    assert asked == ["memory"]


async def test_a_neighbour_that_is_not_declared_is_refused_by_name() -> None:
    async def build(mesh: Mesh, _settings: NoSettings, _stack: AsyncExitStack) -> Service:
        mesh.connect("model")
        return Service()

    declaration = Declaration("painter", build, NoSettings, neighbours=("memory",))
    async with AsyncExitStack() as stack:
        with pytest.raises(ValueError, match="painter calls 'model'"):
            await declaration.built(mesh([]), NoSettings(), stack)


async def test_a_part_that_is_not_declared_is_refused_by_name() -> None:
    async def build(mesh: Mesh, _settings: NoSettings, _stack: AsyncExitStack) -> Service:
        assert mesh.postgres is mesh.opened(POSTGRES).client
        return Service(wants={"redis": mesh.check_redis})

    declaration = Declaration("painter", build, NoSettings, needs=("postgres",))
    async with AsyncExitStack() as stack:
        with pytest.raises(ValueError, match="painter uses redis, and its declaration does not name it in `needs`"):
            await declaration.built(mesh([]), NoSettings(), stack)


async def test_services_of_one_process_share_the_client_and_the_check_of_a_part() -> None:
    async def build(mesh: Mesh, _settings: NoSettings, _stack: AsyncExitStack) -> Service:
        return Service(checks={"postgres": mesh.check_postgres}, wants={"redis": mesh.check_redis})

    shared = mesh([])
    async with AsyncExitStack() as stack:
        one, other = [
            await Declaration(name, build, NoSettings, needs=BOTH).built(shared, NoSettings(), stack)
            for name in ("painter", "plumber")
        ]
    assert one.checks["postgres"] is other.checks["postgres"] is shared.check_postgres
    assert one.wants["redis"] is other.wants["redis"]


async def test_a_new_kind_of_part_is_checked_like_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    pinged: list[str] = []

    async def open(url: str, _settings: Any, _stack: AsyncExitStack) -> str:
        return url

    async def ping(client: str) -> None:
        pinged.append(client)

    async def build(mesh: Mesh, _settings: NoSettings, _stack: AsyncExitStack) -> Service:
        return Service(checks={"kiln": mesh.opened(kiln).check})

    kiln = Part("kiln", open, ping)
    monkeypatch.setattr("services.mesh.parts.PARTS", {**PARTS, "kiln": kiln})
    declaration = Declaration("painter", build, NoSettings, needs=("kiln",))
    hot = replace(mesh([]), parts={"kiln": Opened.of(kiln, "hot")})
    async with AsyncExitStack() as stack:
        await (await declaration.built(hot, NoSettings(), stack)).checks["kiln"]()
    assert pinged == ["hot"]


def test_an_unknown_part_is_refused_with_the_existing_ones() -> None:
    with pytest.raises(ValueError, match="there is no part 'postgress'; there are postgres, redis"):
        Declaration("painter", cast(Any, None), NoSettings, needs=("postgress",))


@pytest.mark.parametrize(
    ("needs", "sends", "missing"),
    [
        ((), (), "keeps a schema: its declaration has to name postgres in"),
        (("redis",), (), "keeps a schema: its declaration has to name postgres in"),
        (("postgres",), ("painter.wall.painted",), "sends events: its declaration has to name redis in"),
    ],
)
def test_the_parts_that_a_schema_and_events_need_must_be_declared(
    needs: tuple[str, ...], sends: tuple[str, ...], missing: str
) -> None:
    here = Path(__file__).parent
    with pytest.raises(ValueError, match=f"painter {missing} `needs`"):
        Declaration("painter", cast(Any, None), NoSettings, needs=needs, migrations=here, sends=sends)


@pytest.mark.parametrize(
    ("service", "needs", "missing"),
    [
        (Service(events=[Consumer("memory.conversation.deleted", cast(Any, None))]), (), "postgres and redis"),
        (Service(events=[Consumer("memory.conversation.deleted", cast(Any, None))]), ("postgres",), "redis"),
        (Service(jobs=[Job("sweep", cast(Any, None), alone=True)]), ("redis",), "postgres"),
    ],
)
async def test_what_a_built_service_has_must_be_declared(
    service: Service, needs: tuple[str, ...], missing: str
) -> None:
    async def build(_mesh: Mesh, _settings: NoSettings, _stack: AsyncExitStack) -> Service:
        return service

    async with AsyncExitStack() as stack:
        with pytest.raises(ValueError, match=f"painter (has|handles).* has to name {missing} in `needs`"):
            await Declaration("painter", build, NoSettings, needs=needs).built(mesh([]), NoSettings(), stack)


@pytest.mark.parametrize(
    ("services", "parts"),
    [
        ((), ()),
        (("policy", "testing"), ("redis",)),
        (("policy", "edge"), ("redis",)),
        (("edge", "memory"), ("postgres", "redis")),
        (SERVICES, ("postgres", "redis")),
    ],
)
def test_services_need_the_parts_that_one_of_them_declares(services: tuple[str, ...], parts: tuple[str, ...]) -> None:
    assert sorted(needed(services)) == list(parts)


def test_a_service_may_use_parts_that_it_does_not_need() -> None:
    assert used(SERVICES) == ("llm",)
    assert used(("policy", "edge")) == ()
    assert "llm" not in needed(SERVICES)


async def test_a_part_that_a_service_uses_may_be_missing() -> None:
    found: list[str | None] = []

    async def build(own: Mesh, _settings: NoSettings, _stack: AsyncExitStack) -> Service:
        found.append(own.optional(LLM))
        return Service()

    painter = Declaration("painter", build, NoSettings, uses=("llm",))
    async with AsyncExitStack() as stack:
        await painter.built(replace(mesh([]), parts={}), NoSettings(), stack)
        there = replace(mesh([]), parts={"llm": Opened.of(LLM, "http://127.0.0.1:1")})
        await painter.built(there, NoSettings(), stack)
    assert found == [None, "http://127.0.0.1:1"]


def test_every_service_of_the_list_declares_itself_under_its_name_and_calls_services_of_the_list() -> None:
    assert [declaration.name for declaration in declarations()] == list(SERVICES)
    for declaration in declarations():
        assert set(declaration.neighbours) <= set(SERVICES)


def test_a_services_settings_are_in_the_table_of_its_name() -> None:
    for declaration in declarations():
        assert issubclass(declaration.settings, SomaSettings)
        assert declaration.settings.table == declaration.name


def test_every_public_contract_belongs_to_a_service_of_the_list() -> None:
    assert {area(name) for name in public_services()} - {"mesh"} <= set(SERVICES)


def test_no_folder_of_migrations_is_forgotten() -> None:
    root = Path(services.__path__[0])
    there = {path.relative_to(root).parts[0]: path for path in root.rglob("migrations") if path.is_dir()}
    assert dict(schemas()) == there


async def test_a_service_sends_the_events_it_declares_and_relays_them(
    postgres_url: str, database: "OwnedDatabase"
) -> None:
    await migrate(postgres_url, "painter", Path(__file__).parent, outbox=True)

    async def build(mesh: Mesh, _settings: NoSettings, _stack: AsyncExitStack) -> Service:
        await mesh.outbox.add(cast(Any, database), "wall", Event(type="painter.wall.painted", tenant_id="acme"))
        with pytest.raises(ValueError, match=r"painter sends .*washed', and its declaration"):
            await mesh.outbox.add(cast(Any, database), "wall", Event(type="painter.wall.washed", tenant_id="acme"))
        return Service(events=[Consumer("memory.conversation.deleted", forgotten)])

    async def forgotten(_connection: "Connection", _event: Event) -> None:
        """Do nothing."""

    here = Path(__file__).parent
    declaration = Declaration(
        "painter", build, NoSettings, needs=BOTH, migrations=here, sends=("painter.wall.painted",)
    )
    async with AsyncExitStack() as stack:
        built = await declaration.built(mesh([], database), NoSettings(), stack)
    assert await database.fetchval("SELECT count(*) FROM painter.outbox") == 1
    assert [job.name for job in built.jobs] == ["outbox", "outbox_trim", "events_memory", "events_memory_prune"]


async def test_a_service_that_declares_no_event_sends_none() -> None:
    async def build(mesh: Mesh, _settings: NoSettings, _stack: AsyncExitStack) -> Service:
        await mesh.outbox.add(cast(Any, None), "wall", Event(type="painter.wall.painted", tenant_id="acme"))
        return Service()

    async with AsyncExitStack() as stack:
        with pytest.raises(ValueError, match="its declaration names no such event"):
            await Declaration("painter", build, NoSettings).built(mesh([]), NoSettings(), stack)


def test_events_of_another_area_or_without_a_schema_or_of_another_form_are_refused() -> None:
    build, here = cast(Any, None), Path(__file__).parent
    with pytest.raises(ValueError, match="which is an event of memory"):
        Declaration("painter", build, NoSettings, migrations=here, sends=("memory.wall.painted",))
    with pytest.raises(ValueError, match="it needs `migrations`"):
        Declaration("painter", build, NoSettings, sends=("painter.wall.painted",))
    with pytest.raises(ValueError, match="'painted' is no type of an event"):
        Declaration("painter", build, NoSettings, migrations=here, sends=("painted",))


@pytest.mark.parametrize("type", ["memory.conversation.forgotten", "painter.wall.painted", "policy.rule.changed"])
def test_a_handler_of_an_event_that_no_service_sends_is_refused(type: str) -> None:
    require_sent("orchestrator", ["memory.conversation.deleted", "model.usage.recorded"])
    with pytest.raises(ValueError, match="and no service declares that it sends it"):
        require_sent("orchestrator", [type])


def test_the_needs_of_services_are_read_without_importing_them() -> None:
    names = "import services.declared as d; names = (*d.SERVICES, 'testing'); "
    read = "import sys; needs = [d.needed([name]) for name in names]; early = [*sys.modules]; "
    script = names + read + "print(needs == [d.declared(name).needs for name in names], *early)"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    equal, *early = ran.stdout.split()
    assert equal == "True"
    assert {
        module for module in early if module.startswith(("services.", "gateway.")) and module.endswith(".main")
    } == set()


@pytest.mark.parametrize(
    ("source", "needs"),
    [
        ("SERVICE = Declaration(name='a', needs=('postgres',))", ("postgres",)),
        ("SERVICE = Declaration(name='a')", ()),
        ("NEEDS = ('redis',)\nSERVICE = Declaration(name='a', needs=NEEDS)", None),
        ("SERVICE = Declaration(**options)", None),
        ("SERVICE = made()[0]", None),
    ],
)
def test_a_declaration_that_cannot_be_read_without_an_import_is_not_guessed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, needs: tuple[str, ...] | None
) -> None:
    (tmp_path / "written_service.py").write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert _written("written_service", "needs") == needs


def test_an_unknown_service_is_refused_with_the_existing_ones() -> None:
    with pytest.raises(InvalidArgument, match="no such service: memmory; there are identity, edge") as refused:
        declared("memmory")
    assert refused.value.reason == "SERVICE_UNKNOWN"


def test_the_list_of_names_imports_no_service() -> None:
    script = "import sys, cli.layout; print(*(m for m in sys.modules if m.startswith(('services.', 'gateway'))))"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    mesh = {"services.mesh", "services.mesh.call", "services.mesh.call.errors"}
    assert set(ran.stdout.split()) == {"services.declared"} | mesh
