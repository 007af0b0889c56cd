"""Builds the memory service."""

from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

from soma.memory.v1.memory_service_pb2_grpc import add_MemoryServiceServicer_to_server
from soma.model.v1.model_service_pb2_grpc import ModelServiceStub

from services.memory.adapters.model import ModelEmbedder
from services.memory.context import Contexts
from services.memory.conversations import Conversations
from services.memory.facts import Facts
from services.memory.indexing import Indexer
from services.memory.search import Search
from services.memory.service import MemoryService
from services.memory.settings import MemorySettings
from services.memory.store.conversations import PostgresConversationStore
from services.memory.store.facts import PostgresFactStore
from services.memory.store.passages import PostgresPendingPassages
from services.memory.sweeping import sweep
from services.memory.warmth import WarmEmbedder
from services.mesh.background import in_background
from services.mesh.mesh import Mesh
from services.mesh.service import Service


async def build(mesh: Mesh, stack: AsyncExitStack) -> Service:
    """Wire the stores to the model service, and start what runs in the background."""
    settings = MemorySettings()
    await mesh.migrate("memory", Path(__file__).parent / "migrations")
    facts = PostgresFactStore(mesh.postgres)
    turns = PostgresConversationStore(mesh.postgres)
    vectors = ModelEmbedder(ModelServiceStub(mesh.connect("model")), settings.embed_seconds)
    embedder = WarmEmbedder(vectors)
    stack.push_async_callback(embedder.close)
    indexer = Indexer(PostgresPendingPassages(mesh.postgres), vectors)
    search = Search(facts, turns, embedder)
    for work in (indexer.run, partial(sweep, facts, settings.sweep_seconds)):
        in_background(stack, work)
    servicer = MemoryService(
        facts=Facts(facts, embedder, search, indexer),
        conversations=Conversations(turns, indexer),
        contexts=Contexts(turns, facts, search),
    )
    # Without the model service memory answers from words, so it is a condition of its health only while it loads.
    return Service(
        name="memory",
        servicers=((add_MemoryServiceServicer_to_server, servicer),),
        checks={"postgres": mesh.check_postgres, "embedder": embedder.check},
    )
