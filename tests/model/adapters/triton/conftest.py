"""One Triton for the run, which tests leave as it is, and clients of it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.model.adapters.triton.server import Server
from services.model.adapters.triton.settings import TritonSettings
from services.model.embedding.minilm import MiniLm
from services.model.embedding.settings import EmbeddingSettings
from tests.model.adapters.triton import deployed
from tests.model.adapters.triton.server import TritonServer, require_triton, triton

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def directory(data_dir: Path) -> Path:
    """The folder of the models, shared by all tests of the run."""
    return data_dir / "models"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give tests of this folder the time in which the server starts."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.timeout(400))


@pytest.fixture(scope="session")
async def running(directory: Path) -> AsyncIterator[TritonServer]:
    """A server with the product's models and those of the tests."""
    async with triton(directory, "embedder", "slm", "odd", "slow", "ticker") as server:
        yield server


@pytest.fixture(scope="session")
async def rendered(directory: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[TritonServer]:
    """A server with models that were made from settings."""
    require_triton()
    folder = tmp_path_factory.mktemp("rendered")
    names = deployed.write(folder)
    async with triton(directory, *names, repository=folder / "repository") as server:
        yield server


@pytest.fixture
async def server(running: TritonServer) -> AsyncIterator[Server]:
    """A connection to it."""
    connection = Server(TritonSettings(url=running.url))
    yield connection
    await connection.close()


@pytest.fixture
async def own(directory: Path) -> AsyncIterator[MiniLm]:
    """The embedder of this process."""
    embedder = MiniLm(EmbeddingSettings(directory=directory, precision="fp32"))
    yield embedder
    await embedder.close()
