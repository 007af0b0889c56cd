"""The model service as its callers see it: built as its process builds it, with Postgres and fakes of vendors."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest
from pydantic import SecretStr
from soma.model.v1.catalog_service_pb2_grpc import CatalogServiceStub
from soma.model.v1.cost_service_pb2 import ListUsageRequest, UsageRecord
from soma.model.v1.cost_service_pb2_grpc import CostServiceStub
from soma.model.v1.message_pb2 import ROLE_USER, Message
from soma.model.v1.model_service_pb2 import GenerateRequest
from soma.model.v1.model_service_pb2_grpc import ModelServiceStub

from services.mesh.call.call import run_as
from services.mesh.service import Service
from services.mesh.stores.redis import open_client
from services.mesh.testing.hosted import hosted
from services.mesh.testing.local import SOMEBODY
from services.mesh.testing.waiting import until
from services.mesh.transport.local.channel import LocalChannel
from services.model.embedding import artifact, engine
from services.model.main import SERVICE
from services.model.settings import ModelSettings
from services.model.testing.dialects import AnthropicDialect, OpenAIDialect
from services.model.testing.upstreams import FakeUpstream
from tests.model.vendors import VARIABLES

if TYPE_CHECKING:
    from soma.model.v1.catalog_service_pb2_grpc import CatalogServiceAsyncStub
    from soma.model.v1.cost_service_pb2_grpc import CostServiceAsyncStub
    from soma.model.v1.model_service_pb2_grpc import ModelServiceAsyncStub

    from tests.databases import OwnedDatabase

# Maximum size of an answer's text; more than any model of the tests writes.
LARGEST = 1024 * 1024
KEY = SecretStr("sk-secret")
# To hash the weights and open the graph takes 0.4 s, which is more than most tests take.
_prepared, _opened = cache(artifact.prepared), cache(engine.Engine)


def asking(text: str = "Hello?", model: str = "fake-large") -> GenerateRequest:
    """A minimal request."""
    return GenerateRequest(model=model, messages=[Message(role=ROLE_USER, content=text)])


@dataclass
class Models:
    """The service and its stubs, for calls made inside `run_as`."""

    model: "ModelServiceAsyncStub"
    catalogue: "CatalogServiceAsyncStub"
    cost: "CostServiceAsyncStub"
    channel: LocalChannel
    service: Service
    pool: "OwnedDatabase"
    expected: int | None = None

    async def usage(self, count: int = 1) -> Sequence[UsageRecord]:
        """The tenant's records, newest first, when there are `count`; at the end of the test there must be as many."""

        async def written() -> bool:
            return await self.recorded() >= count

        await until(written)
        records: list[UsageRecord] = []
        request = ListUsageRequest(page_size=1000)
        with run_as(SOMEBODY):
            while True:
                listed = await self.cost.ListUsage(request)
                records += listed.records
                request.page_token = listed.next_page_token
                if not request.page_token:
                    break
        assert len(records) == count
        self.expected = count
        return records

    async def recorded(self) -> int:
        """Number of records in the ledger."""
        count: int = await self.pool.fetchval("SELECT count(*) FROM model.usage")
        return count


Serving: TypeAlias = Callable[..., AbstractAsyncContextManager[Models]]


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """The folder with the graph of the model of vectors. It is built once for all workers of a run."""
    base = tmp_path_factory.getbasetemp()
    found = (base if worker_id == "master" else base.parent) / "model"
    found.mkdir(exist_ok=True)
    return found


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Remove all variables that would configure a provider."""
    monkeypatch.chdir(tmp_path)
    for name in (*VARIABLES, "SOMA_CONFIG"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def serving(database: "OwnedDatabase", data_dir: Path, bare: None, monkeypatch: pytest.MonkeyPatch) -> Serving:
    """Makes the service with the local models and the given vendors; other arguments are settings of the service."""
    monkeypatch.setattr(artifact, "prepared", _prepared)
    monkeypatch.setattr(engine, "Engine", _opened)
    return partial(_serving, database, data_dir)


@asynccontextmanager
async def _serving(
    pool: "OwnedDatabase", data_dir: Path, upstreams: Sequence[FakeUpstream] = (), **settings: Any
) -> AsyncIterator[Models]:
    for fake in upstreams:
        settings |= {OpenAIDialect: _openai, AnthropicDialect: _anthropic}[type(fake.dialect)](fake.url)
    given = ModelSettings(**{"answer_limit_bytes": LARGEST, "ollama_url": "", **settings})
    async with (
        # Redis is unavailable: events wait in the outbox, and no call needs Redis.
        open_client("redis://127.0.0.1:1") as redis,
        hosted(SERVICE, settings=given, database=pool, redis=redis, data_dir=data_dir) as running,
    ):
        channel = running.channel
        stubs = ModelServiceStub(channel), CatalogServiceStub(channel), CostServiceStub(channel)
        models = Models(*stubs, channel, running.service, pool)
        yield models
    # Checked after the service was closed, so that all its records are written.
    assert models.expected in (None, await models.recorded())


def _openai(url: str) -> dict[str, Any]:
    return {"openai_base_url": f"{url}/v1", "openai_api_key": KEY}


def _anthropic(url: str) -> dict[str, Any]:
    return {"anthropic_base_url": url, "anthropic_api_key": KEY}


@pytest.fixture
async def nothing_left() -> AsyncIterator[None]:
    """Check that no task is left after the test."""
    before = asyncio.all_tasks()
    yield
    left = asyncio.all_tasks() - before - {asyncio.current_task()}
    if left:
        _, left = await asyncio.wait(left, timeout=10.0)
    assert not left
