"""The service as a process builds it."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from soma.model.v1.catalog_service_pb2 import ListModelsRequest

from services.mesh.migrations import migrate
from services.mesh.testing.upstreams import AnthropicDialect, FakeUpstream
from services.model.main import build
from services.model.service import CatalogService

if TYPE_CHECKING:
    from services.mesh.postgres import Pool

pytestmark = pytest.mark.usefixtures("nothing_left")


class Host:
    """As much of a Mesh as the service asks for."""

    def __init__(self, url: str, pool: "Pool", data_dir: Path) -> None:
        self.url = url
        self.postgres = pool
        self.data_dir = data_dir

    async def migrate(self, schema: str, directory: Path) -> None:
        await migrate(self.url, schema, directory)


@pytest.fixture
def host(postgres_url: str, database: "Pool", tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(tmp_path)
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL", "SOMA_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SOMA_MODEL_OLLAMA_URL", "")
    # Nothing of these tests needs the vectors' model; it is not made.
    monkeypatch.setenv("SOMA_EMBEDDING_DIRECTORY", str(tmp_path))
    return Host(postgres_url, database, tmp_path)


async def listed(host: Any) -> dict[str, bool]:
    async with AsyncExitStack() as stack:
        service = await build(host, stack)
        await service.checks["postgres"]()
        (catalogue,) = (servicer for _, servicer in service.servicers if isinstance(servicer, CatalogService))
        response = await catalogue.ListModels(ListModelsRequest(), None)  # type: ignore[arg-type]
        return {model.name: model.available for model in response.models}


async def test_vendors_of_the_environment_are_found_and_one_becomes_the_default(
    host: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with FakeUpstream() as openai, FakeUpstream(AnthropicDialect(), models=("claude-haiku",)) as anthropic:
        monkeypatch.setenv("OPENAI_BASE_URL", f"{openai.url}/v1")
        monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-2")
        monkeypatch.setenv("ANTHROPIC_BASE_URL", anthropic.url)
        found = await listed(host)
    assert list(found)[0] == "fake-large"
    assert found["claude-haiku"]


async def test_a_bare_machine_has_the_local_models_and_starts_with_one_of_them(host: Any) -> None:
    found = await listed(host)
    assert found == dict.fromkeys(("soma-extract-v1", "somasuite-markov-v1", "somasuite-embed-v1"), True)
    assert list(found)[0] == "soma-extract-v1"


async def test_a_vendor_that_hangs_does_not_hold_up_the_start(host: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = asyncio.Event()

    async def hang(*_: object) -> None:
        await gate.wait()

    server = await asyncio.start_server(hang, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    monkeypatch.setenv("OPENAI_BASE_URL", f"http://127.0.0.1:{port}/v1")
    async with asyncio.timeout(5.0):
        assert "soma-extract-v1" in await listed(host)
    gate.set()
    server.close()
    await server.wait_closed()
