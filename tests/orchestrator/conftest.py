"""The orchestrator as `build` makes it, on real Postgres and Redis among fakes of its neighbours."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import redis.asyncio as aioredis
from soma.model.v1.catalog_service_pb2 import Model
from soma.orchestrator.v1.chat_service_pb2_grpc import ChatServiceStub
from soma.orchestrator.v1.chat_session_service_pb2_grpc import ChatSessionServiceStub
from soma.orchestrator.v1.log_service_pb2_grpc import LogServiceStub
from soma.orchestrator.v1.response_service_pb2_grpc import ResponseServiceStub

from services.mesh.blobs.blobs import Blobs
from services.mesh.blobs.directory import Directory
from services.mesh.call.delegation import Delegations
from services.mesh.stores.redis import open_client
from services.mesh.testing.hosted import Hosted, Neighbour, hosted
from services.mesh.testing.waiting import until
from services.mesh.watching.rows import RowSequences
from services.mesh.watching.streams import StreamReader
from services.orchestrator.chat.store import PostgresPendingTurns
from services.orchestrator.main import SERVICE
from services.orchestrator.settings import OrchestratorSettings
from tests.fakes.catalog import FakeCatalog
from tests.fakes.memory import FakeMemory
from tests.fakes.model import FakeModel
from tests.fakes.policy import FakePolicy

if TYPE_CHECKING:
    from soma.orchestrator.v1.chat_service_pb2_grpc import ChatServiceAsyncStub
    from soma.orchestrator.v1.chat_session_service_pb2_grpc import ChatSessionServiceAsyncStub
    from soma.orchestrator.v1.log_service_pb2_grpc import LogServiceAsyncStub
    from soma.orchestrator.v1.response_service_pb2_grpc import ResponseServiceAsyncStub

    from tests.databases import OwnedDatabase


TALKER = Model(name="talker", provider="local", capabilities=[Model.CAPABILITY_CHAT], available=True, default=True)
EMBEDDER = Model(name="embedder", provider="local", capabilities=[Model.CAPABILITY_EMBEDDING], available=True)


@dataclass
class Fakes:
    """The neighbours, and what they were asked, in order. The model that answers is not the one that is asked for.

    `folder` is where the stack keeps the bytes of media.
    """

    folder: Path
    happened: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.memory = FakeMemory(self.happened)  # type: ignore[abstract]  # only what a turn asks
        self.policy = FakePolicy(self.happened)
        self.catalog = FakeCatalog([TALKER, EMBEDDER])
        self.model = FakeModel(self.catalog, self.happened, name="scripted")  # type: ignore[abstract]  # likewise

    @property
    def neighbours(self) -> dict[str, Neighbour]:
        """By the name of their service."""
        return {"memory": (self.memory,), "policy": (self.policy,), "model": (self.model, self.catalog)}


@dataclass(frozen=True)
class Orchestrator:
    """One orchestrator as its callers see it, and the turns in its database that are on their way to memory."""

    mesh: Hosted
    chat: "ChatServiceAsyncStub"
    responses: "ResponseServiceAsyncStub"
    sessions: "ChatSessionServiceAsyncStub"
    logs: "LogServiceAsyncStub"
    pending: PostgresPendingTurns
    pool: "OwnedDatabase"
    blobs: Blobs

    async def delivered(self) -> None:
        """Return once memory has every turn."""
        await until(self._nothing_pending)

    async def _nothing_pending(self) -> bool:
        pending: bool = await self.pool.fetchval("SELECT EXISTS (SELECT FROM orchestrator.pending_turn)")
        return not pending


@asynccontextmanager
async def serving(
    database: "OwnedDatabase",
    redis: aioredis.Redis,
    fakes: Fakes,
    *,
    patience: float = 5.0,
    delegations: Delegations | None = None,
    **settings: Any,
) -> AsyncIterator[Orchestrator]:
    """An orchestrator among these neighbours; `patience` and further settings are the service's.

    `delegations` has work in the background act for callers; by default nobody revokes anything.
    """
    own = OrchestratorSettings(memory_patience_seconds=patience, **settings)
    blobs = Blobs(Directory(fakes.folder), database.tenants)
    async with hosted(
        SERVICE,
        neighbours=fakes.neighbours,
        settings=own,
        database=database,
        redis=redis,
        blobs=blobs,
        delegations=delegations,
    ) as mesh:
        yield Orchestrator(
            mesh,
            ChatServiceStub(mesh.channel),
            ResponseServiceStub(mesh.channel),
            ChatSessionServiceStub(mesh.channel),
            LogServiceStub(mesh.channel),
            PostgresPendingTurns(database, blobs),
            database,
            blobs,
        )


def without_store(pool: "OwnedDatabase") -> Blobs:
    """Blobs of a test that keeps none."""
    return Blobs(Directory(Path("/nonexistent")), pool.tenants)


def unwatched() -> RowSequences:
    """Sequences nobody watches; their job does not run."""
    client = open_client("redis://127.0.0.1:1")
    return RowSequences(client, StreamReader(client), "orchestrator")


@pytest.fixture
def fakes(tmp_path: Path) -> Fakes:
    """The neighbours in this test."""
    return Fakes(tmp_path / "blobs")


@pytest.fixture
async def orchestrator(database: "OwnedDatabase", redis: aioredis.Redis, fakes: Fakes) -> AsyncIterator[Orchestrator]:
    """An orchestrator among those neighbours."""
    async with serving(database, redis, fakes) as served:
        yield served
