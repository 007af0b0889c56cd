"""Declares and builds the orchestrator."""

from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

from soma.memory.v1 import memory_service_pb2
from soma.memory.v1.memory_service_pb2_grpc import MemoryServiceStub
from soma.model.v1.catalog_service_pb2_grpc import CatalogServiceStub
from soma.model.v1.model_service_pb2_grpc import ModelServiceStub
from soma.orchestrator.v1.chat_service_pb2_grpc import add_ChatServiceServicer_to_server
from soma.orchestrator.v1.chat_session_service_pb2_grpc import add_ChatSessionServiceServicer_to_server
from soma.orchestrator.v1.log_service_pb2_grpc import add_LogServiceServicer_to_server
from soma.orchestrator.v1.response_service_pb2_grpc import add_ResponseServiceServicer_to_server
from soma.policy.v1.policy_service_pb2_grpc import PolicyServiceStub

from services.mesh.call.call import run_as
from services.mesh.declaration import Declaration
from services.mesh.mesh import Mesh
from services.mesh.process.jobs import Job
from services.mesh.service import Service
from services.mesh.watching.rows import RowSequences
from services.mesh.watching.streams import StreamReader
from services.orchestrator.adapters.catalogue import Catalogue
from services.orchestrator.adapters.memory import Memory
from services.orchestrator.adapters.model import Models
from services.orchestrator.adapters.policy import Policy
from services.orchestrator.adapters.structured import StructuredModels
from services.orchestrator.chat.delivery import Append, Delivery
from services.orchestrator.chat.service import ChatService
from services.orchestrator.chat.store import PendingTurn, PostgresPendingTurns
from services.orchestrator.chat.turn import Turns
from services.orchestrator.deletion import CONVERSATION_DELETED
from services.orchestrator.logs.reading import Logs
from services.orchestrator.logs.recording import RecordedTurns
from services.orchestrator.logs.service import LogService
from services.orchestrator.logs.store import RedisLogStore
from services.orchestrator.logs.writer import LogWriter
from services.orchestrator.responses.events import PostgresResponseEvents
from services.orchestrator.responses.running import Running
from services.orchestrator.responses.service import ResponseService
from services.orchestrator.responses.store import PostgresResponses
from services.orchestrator.sessions.answering import Answering
from services.orchestrator.sessions.chats import Chats
from services.orchestrator.sessions.conversations import Conversations
from services.orchestrator.sessions.messages import Messages
from services.orchestrator.sessions.service import ChatSessionService
from services.orchestrator.sessions.store import PostgresSessions
from services.orchestrator.sessions.templates import Templates
from services.orchestrator.settings import OrchestratorSettings

_APPEND_SECONDS = 10.0
_FORGET_SECONDS = 3600.0


async def build(mesh: Mesh, settings: OrchestratorSettings, stack: AsyncExitStack) -> Service:
    """Wire turns to their neighbours."""
    pending = PostgresPendingTurns(mesh.postgres)
    stack.push_async_callback(pending.close)
    memory = Memory(MemoryServiceStub(mesh.connect("memory")), settings.memory_patience_seconds)
    delivery = Delivery(pending, appending(memory))
    stack.push_async_callback(delivery.drain)
    kept = RedisLogStore(mesh.redis, settings.log_bounds)
    writer, reader = LogWriter(kept), StreamReader(mesh.redis)
    stack.push_async_callback(writer.close)
    turns = RecordedTurns(
        Turns(
            Policy(PolicyServiceStub(mesh.connect("policy"))),
            memory,
            StructuredModels(Models(ModelServiceStub(mesh.connect("model")))),
            delivery,
        ),
        writer,
    )
    sessions, templates = PostgresSessions(mesh.postgres), Templates.read()
    conversations = Conversations(memory, delivery)
    catalogue = Catalogue(CatalogServiceStub(mesh.connect("model")))
    session_service = ChatSessionService(
        Chats(sessions, templates, catalogue, conversations, writer),
        Messages(sessions, Answering(turns), conversations),
        templates,
        catalogue,
    )
    sequences = RowSequences(mesh.redis, reader, "orchestrator")
    stack.push_async_callback(sequences.close)
    store, events = PostgresResponses(mesh.postgres, sequences), PostgresResponseEvents(mesh.postgres, sequences)
    stack.push_async_callback(events.close)
    running = Running(store)
    stack.push_async_callback(running.close)
    forget = Job("forget", partial(store.forget, settings.responses_kept_days), every=_FORGET_SECONDS, alone=True)
    responses = ResponseService(turns, store, events, sequences, running, catalogue, settings.background_seconds)
    # Without Redis nothing is told of what happens, and logs cannot be read, but it happens.
    return Service(
        servicers=(
            (add_ChatServiceServicer_to_server, ChatService(turns)),
            (add_ChatSessionServiceServicer_to_server, session_service),
            (add_LogServiceServicer_to_server, LogService(Logs(kept, reader, settings.heartbeat_interval))),
            (add_ResponseServiceServicer_to_server, responses),
        ),
        jobs=(delivery.job, writer.job, reader.job, sequences.job, running.job, forget),
        events=(CONVERSATION_DELETED,),
        checks={"postgres": mesh.check_postgres},
        wants={"redis": mesh.check_redis},
        finished=running.finished,
    )


SERVICE = Declaration(
    name="orchestrator",
    build=build,
    settings=OrchestratorSettings,
    needs=("postgres", "redis"),
    migrations=Path(__file__).parent / "migrations",
    neighbours=("policy", "memory", "model"),
)


def appending(memory: Memory) -> Append:
    """What hands a turn to memory, as the principal that took it."""

    async def append(turn: PendingTurn) -> None:
        with run_as(turn.principal, timeout=_APPEND_SECONDS):
            await memory.append(memory_service_pb2.AppendMessagesRequest.FromString(turn.request))

    return append
