"""An orchestrator on real Postgres among scripted neighbours."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import TYPE_CHECKING

import pytest
import redis.asyncio as aioredis
from soma.memory.v1.memory_service_pb2_grpc import MemoryServiceStub, add_MemoryServiceServicer_to_server
from soma.model.v1.catalog_service_pb2_grpc import CatalogServiceStub, add_CatalogServiceServicer_to_server
from soma.model.v1.model_service_pb2_grpc import ModelServiceStub, add_ModelServiceServicer_to_server
from soma.orchestrator.v1.chat_service_pb2_grpc import ChatServiceStub, add_ChatServiceServicer_to_server
from soma.orchestrator.v1.response_service_pb2_grpc import (
    ResponseServiceStub,
    add_ResponseServiceServicer_to_server,
)
from soma.policy.v1.policy_service_pb2_grpc import PolicyServiceStub, add_PolicyServiceServicer_to_server

from services.mesh.stores.redis import open_client
from services.mesh.testing.local import LocalMesh
from services.mesh.transport.routing import RoutedChannel
from services.mesh.watching.rows import RowSequences
from services.mesh.watching.streams import StreamReader
from services.orchestrator.adapters.catalogue import Catalogue
from services.orchestrator.adapters.memory import Memory
from services.orchestrator.adapters.model import Models
from services.orchestrator.adapters.policy import Policy
from services.orchestrator.adapters.structured import StructuredModels
from services.orchestrator.chat.delivery import Delivery
from services.orchestrator.chat.service import ChatService
from services.orchestrator.chat.store import PostgresPendingTurns
from services.orchestrator.chat.turn import Turns
from services.orchestrator.main import appending
from services.orchestrator.responses.events import PostgresResponseEvents
from services.orchestrator.responses.running import Running
from services.orchestrator.responses.service import ResponseService
from services.orchestrator.responses.store import PostgresResponses
from tests.orchestrator.neighbours import Script, ScriptedCatalog, ScriptedMemory, ScriptedModel, ScriptedPolicy

if TYPE_CHECKING:
    from soma.orchestrator.v1.chat_service_pb2_grpc import ChatServiceAsyncStub
    from soma.orchestrator.v1.response_service_pb2_grpc import ResponseServiceAsyncStub

    from services.mesh.stores.postgres import Pool


class Orchestrator:
    """One orchestrator's insides, and the stub of its service; without a Redis its watchers hear of nobody else."""

    def __init__(
        self, pool: "Pool", script: Script, patience: float = 5.0, redis: aioredis.Redis | None = None
    ) -> None:
        self.mesh = LocalMesh(
            (
                (add_PolicyServiceServicer_to_server, ScriptedPolicy(script)),
                (add_MemoryServiceServicer_to_server, ScriptedMemory(script)),  # type: ignore[abstract]  # only what a turn asks
                (add_CatalogServiceServicer_to_server, ScriptedCatalog(script)),
                (add_ModelServiceServicer_to_server, ScriptedModel(script)),  # type: ignore[abstract]  # likewise
            )
        )
        channel, neighbours = self.mesh.channel, RoutedChannel(lambda: self.mesh.channel)
        self.pending = PostgresPendingTurns(pool)
        self.memory = memory = Memory(MemoryServiceStub(neighbours), patience)
        self.delivery = Delivery(self.pending, appending(memory))
        models = StructuredModels(Models(ModelServiceStub(neighbours)))
        self.turns = turns = Turns(Policy(PolicyServiceStub(neighbours)), memory, models, self.delivery)
        client = redis or open_client("redis://127.0.0.1:1")
        self.reader = StreamReader(client)
        self.sequences = RowSequences(client, self.reader, "orchestrator")
        self.store = PostgresResponses(pool, self.sequences)
        self.events = PostgresResponseEvents(pool, self.sequences)
        self.running = Running(self.store)
        self.catalogue = Catalogue(CatalogServiceStub(neighbours))
        responses = ResponseService(turns, self.store, self.events, self.sequences, self.running, self.catalogue, 60.0)
        self.mesh.add(
            (
                (add_ChatServiceServicer_to_server, ChatService(turns)),
                (add_ResponseServiceServicer_to_server, responses),
            )
        )
        self.chat: ChatServiceAsyncStub = ChatServiceStub(channel)
        self.responses: ResponseServiceAsyncStub = ResponseServiceStub(channel)

    async def aclose(self) -> None:
        """Let deliveries end, then close."""
        await self.running.close()
        await self.delivery.drain()
        await self.events.close()
        await self.pending.close()
        await self.mesh.channel.close()


@pytest.fixture
def script() -> Script:
    """What the neighbours do in this test."""
    return Script()


@pytest.fixture
async def orchestrator(database: "Pool", script: Script) -> AsyncIterator[Orchestrator]:
    """An orchestrator among neighbours that follow the script."""
    async with aclosing(Orchestrator(database, script)) as made:
        yield made
