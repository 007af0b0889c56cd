"""Declares and builds the memory service."""

from contextlib import AsyncExitStack
from pathlib import Path

from soma.memory.v1.memory_service_pb2_grpc import add_MemoryServiceServicer_to_server
from soma.model.v1.model_service_pb2_grpc import ModelServiceStub
from soma.model.v1.options_pb2 import URGENCY_BACKGROUND

from services.memory.adapters.model import ModelEmbedder
from services.memory.context import Contexts
from services.memory.conversations import Conversations
from services.memory.facts import Facts
from services.memory.indexing import Indexer
from services.memory.recalls import Recalls
from services.memory.search import Search
from services.memory.service import MemoryService
from services.memory.settings import MemorySettings
from services.memory.store.conversations import DELETED, ConversationStore
from services.memory.store.facts import FactStore
from services.memory.store.passages import PendingPassages
from services.memory.warmth import WarmEmbedder
from services.mesh.declaration import Declaration
from services.mesh.mesh import Mesh
from services.mesh.process.jobs import Job
from services.mesh.service import Service
from services.mesh.stores.row_security import Access


async def build(mesh: Mesh, settings: MemorySettings, stack: AsyncExitStack) -> Service:
    """Make the memory service; `stack` closes what it opens."""
    facts = FactStore(mesh.postgres)
    turns = ConversationStore(mesh.postgres.tenants, mesh.outbox, mesh.blobs)
    models = ModelServiceStub(mesh.connect("model"))
    embedder = WarmEmbedder(ModelEmbedder(models, settings.embed_seconds))
    stack.push_async_callback(embedder.close)
    unhurried = ModelEmbedder(models, settings.embed_seconds, URGENCY_BACKGROUND)
    indexer = Indexer(PendingPassages(mesh.postgres.system), unhurried)
    search = Search(facts, turns, embedder)
    servicer = MemoryService(
        facts=Facts(facts, embedder, search, indexer),
        recalls=Recalls(facts),
        conversations=Conversations(turns, indexer, mesh.blobs),
        contexts=Contexts(turns, facts, search),
    )
    # Without the model service memory searches by words, so its health depends on it only while the model loads.
    return Service(
        servicers=((add_MemoryServiceServicer_to_server, servicer),),
        jobs=(indexer.job, Job("sweep", facts.sweep, every=settings.sweep_seconds, alone=True)),
        checks={"postgres": mesh.check_postgres, "embedder": embedder.check},
    )


SERVICE = Declaration(
    name="memory",
    build=build,
    settings=MemorySettings,
    needs=("postgres", "redis"),
    migrations=Path(__file__).parent / "migrations",
    neighbours=("model",),
    sends=(DELETED,),
    access=Access(
        system={"fact": "SELECT UPDATE DELETE", "passage": "SELECT UPDATE"},
        leakproof=("pg_catalog.ts_match_vq(tsvector, tsquery)",),
    ),
)
