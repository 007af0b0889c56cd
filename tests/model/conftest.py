"""The model service as its callers see it: generated stubs over a local channel, Postgres behind, fakes for vendors."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from soma.model.v1.catalog_service_pb2 import Model
from soma.model.v1.catalog_service_pb2_grpc import CatalogServiceStub, add_CatalogServiceServicer_to_server
from soma.model.v1.cost_service_pb2 import ListUsageRequest, UsageRecord
from soma.model.v1.cost_service_pb2_grpc import CostServiceStub, add_CostServiceServicer_to_server
from soma.model.v1.message_pb2 import ROLE_USER, Message
from soma.model.v1.model_service_pb2 import GenerateRequest
from soma.model.v1.model_service_pb2_grpc import ModelServiceStub, add_ModelServiceServicer_to_server

from services.mesh.call.call import run_as
from services.mesh.stores.group_commit import GroupCommit
from services.mesh.testing.local import SOMEBODY, LocalMesh
from services.mesh.testing.upstreams import FakeUpstream
from services.mesh.transport.local.channel import LocalChannel
from services.model.adapters.anthropic import Anthropic
from services.model.adapters.extract.engine import ExtractEngine
from services.model.adapters.extract.ranking import Ranking
from services.model.adapters.local import LocalProvider, local_model
from services.model.adapters.markov.engine import NAME as MARKOV
from services.model.adapters.markov.engine import MarkovEngine, packaged_chain
from services.model.adapters.openai_compatible import OpenAICompatible
from services.model.adapters.upstream import Patience, Upstream
from services.model.catalogue import Catalogue, Shelf
from services.model.generation import Generations
from services.model.ledger import Ledger
from services.model.service import CatalogService, CostService, ModelService
from services.model.store import PostgresUsageStore
from services.model.usage_events import Entry, write_usage
from services.model.vectors import Vectors
from tests.model.embedder import WordsEmbedder
from tests.model.vendors import ANTHROPIC, COMPATIBLE

if TYPE_CHECKING:
    from soma.model.v1.catalog_service_pb2_grpc import CatalogServiceAsyncStub
    from soma.model.v1.cost_service_pb2_grpc import CostServiceAsyncStub
    from soma.model.v1.model_service_pb2_grpc import ModelServiceAsyncStub

    from services.mesh.stores.postgres import Pool

# Of an answer's text; more than any test's model writes.
LARGEST = 1024 * 1024
IMPATIENT = Patience(connect=1.0, first_byte=0.3, idle=0.3)


def asking(text: str = "Hello?", model: str = "fake-large") -> GenerateRequest:
    """The smallest request."""
    return GenerateRequest(model=model, messages=[Message(role=ROLE_USER, content=text)])


@dataclass
class Models:
    """The service's stubs, for calls made inside `run_as`."""

    model: "ModelServiceAsyncStub"
    catalogue: "CatalogServiceAsyncStub"
    cost: "CostServiceAsyncStub"
    channel: LocalChannel
    ledger: Ledger

    async def usage(self, count: int = 1) -> Sequence[UsageRecord]:
        """The tenant's records once what is written in the background is; newest first."""
        await self.ledger.drain()
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
        return records


@asynccontextmanager
async def serving(
    pool: "Pool", upstreams: Sequence[FakeUpstream], heartbeat: float = 15.0, patience: Patience = IMPATIENT
) -> AsyncIterator[Models]:
    """The service over the local models and the given vendors."""
    async with AsyncExitStack() as stack:
        embedder = WordsEmbedder()
        local = LocalProvider(
            (ExtractEngine(Ranking(embedder.embed)), MarkovEngine(packaged_chain())),
            (local_model(embedder.model, Model.CAPABILITY_EMBEDDING),),
        )
        shelves = [Shelf(local)]
        for number, fake in enumerate(upstreams):
            if fake.dialect.path == "/v1/messages":
                upstream = Upstream(f"anthropic-{number}", fake.url, {"x-api-key": "sk-secret"}, patience)
                shelves.append(Shelf(Anthropic(await stack.enter_async_context(upstream), ANTHROPIC)))
            else:
                headers = {"Authorization": "Bearer sk-secret"}
                upstream = Upstream(f"openai-{number}", f"{fake.url}/v1", headers, patience)
                shelves.append(Shelf(OpenAICompatible(await stack.enter_async_context(upstream), COMPATIBLE)))
        catalogue = Catalogue(shelves, "", "soma-extract-v1")
        await catalogue.refresh()
        commits = GroupCommit(pool, write_usage)

        async def commit(record: UsageRecord) -> None:
            await commits.commit(Entry(record, ""))

        stack.push_async_callback(commits.close)
        ledger = Ledger(commit, delays=(0.0, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2), last_seconds=15.0)
        stack.push_async_callback(ledger.drain)
        servicer = ModelService(catalogue, Generations(ledger, heartbeat, LARGEST), Vectors(embedder, ledger), MARKOV)
        mesh = LocalMesh(
            (
                (add_ModelServiceServicer_to_server, servicer),
                (add_CatalogServiceServicer_to_server, CatalogService(catalogue)),
                (add_CostServiceServicer_to_server, CostService(PostgresUsageStore(pool))),
            )
        )
        channel = mesh.channel
        stack.push_async_callback(channel.close)
        yield Models(ModelServiceStub(channel), CatalogServiceStub(channel), CostServiceStub(channel), channel, ledger)


@pytest.fixture
async def nothing_left() -> AsyncIterator[None]:
    """No task outlives the test."""
    before = asyncio.all_tasks()
    yield
    left = asyncio.all_tasks() - before - {asyncio.current_task()}
    if left:
        _, left = await asyncio.wait(left, timeout=1.0)
    assert not left
