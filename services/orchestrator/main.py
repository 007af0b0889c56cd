"""Declares and builds the orchestrator."""

from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

from soma.memory.v1.memory_service_pb2_grpc import MemoryServiceStub
from soma.model.v1.catalog_service_pb2_grpc import CatalogServiceStub
from soma.model.v1.model_service_pb2_grpc import ModelServiceStub
from soma.orchestrator.v1.chat_service_pb2_grpc import add_ChatServiceServicer_to_server
from soma.orchestrator.v1.chat_session_service_pb2_grpc import add_ChatSessionServiceServicer_to_server
from soma.orchestrator.v1.log_service_pb2_grpc import add_LogServiceServicer_to_server
from soma.orchestrator.v1.response_service_pb2_grpc import add_ResponseServiceServicer_to_server
from soma.policy.v1.policy_service_pb2_grpc import PolicyServiceStub

from services.mesh.declaration import Declaration
from services.mesh.mesh import Mesh
from services.mesh.process.jobs import Job
from services.mesh.service import Service
from services.mesh.stores.row_security import Access
from services.mesh.watching.rows import RowSequences
from services.mesh.watching.streams import StreamReader
from services.orchestrator.adapters.memory import Memory
from services.orchestrator.adapters.model import ChatModels, Models
from services.orchestrator.adapters.policy import Policy
from services.orchestrator.chat.delivery import Delivery
from services.orchestrator.chat.service import ChatService
from services.orchestrator.chat.store import PostgresPendingTurns
from services.orchestrator.chat.structured_output import StructuredModels
from services.orchestrator.chat.turn import Turns
from services.orchestrator.deletion import conversation_deleted
from services.orchestrator.logs.log import Logs
from services.orchestrator.logs.service import LogService
from services.orchestrator.logs.store import RedisLogStore
from services.orchestrator.logs.turn_log import LoggedTurns
from services.orchestrator.logs.writer import LogWriter
from services.orchestrator.responses.compaction import Compactions
from services.orchestrator.responses.seal import Seal
from services.orchestrator.responses.service import ResponseService
from services.orchestrator.responses.store import PostgresResponseEvents, PostgresResponses
from services.orchestrator.responses.task import ResponseTasks
from services.orchestrator.responses.tokens import TokenCounts
from services.orchestrator.sessions.conversation import Conversations
from services.orchestrator.sessions.message import Messages
from services.orchestrator.sessions.service import ChatSessionService
from services.orchestrator.sessions.session import Sessions
from services.orchestrator.sessions.store import PostgresSessions
from services.orchestrator.sessions.template import Templates
from services.orchestrator.settings import OrchestratorSettings

_FORGET_SECONDS = 3600.0


async def build(mesh: Mesh, settings: OrchestratorSettings, stack: AsyncExitStack) -> Service:
    """Make the four services of the orchestrator and what they share."""
    reader = StreamReader(mesh.redis)
    models = ChatModels(CatalogServiceStub(mesh.connect("model")))
    memory = Memory(MemoryServiceStub(mesh.connect("memory")), settings.memory_patience_seconds)

    log_store = RedisLogStore(mesh.redis, settings.log_bounds)
    log_writer = LogWriter(log_store)
    logs = Logs(log_store, reader, settings.heartbeat_interval)

    pending = PostgresPendingTurns(mesh.postgres, mesh.blobs)
    stack.push_async_callback(pending.close)
    delivery = Delivery(pending, memory)
    stack.push_async_callback(delivery.drain)
    stack.push_async_callback(log_writer.close)
    policy = Policy(PolicyServiceStub(mesh.connect("policy")))
    generations = Models(ModelServiceStub(mesh.connect("model")))
    plain_turns = Turns(policy, memory, StructuredModels(generations), delivery, mesh.blobs)
    turns = LoggedTurns(plain_turns, log_writer)

    session_store, templates = PostgresSessions(mesh.postgres.tenants), Templates.read()
    conversations = Conversations(memory, delivery)
    sessions = Sessions(session_store, templates, models, conversations, log_writer)
    messages = Messages(session_store, turns, conversations)

    sequences = RowSequences(mesh.redis, reader, "orchestrator")
    stack.push_async_callback(sequences.close)
    response_store = PostgresResponses(mesh.postgres, sequences, mesh.blobs)
    response_events = PostgresResponseEvents(mesh.postgres, sequences)
    stack.push_async_callback(response_events.close)
    tasks = ResponseTasks(response_store)
    stack.push_async_callback(tasks.close)
    responses = ResponseService(
        turns,
        response_store,
        response_events,
        sequences,
        tasks,
        models,
        Compactions(Seal(mesh.postgres.system, "compaction")),
        TokenCounts(plain_turns, generations),
        mesh.blobs,
        mesh.delegations,
        settings.background_seconds,
    )
    forget = partial(response_store.forget, settings.responses_kept_days)

    return Service(
        servicers=(
            (add_ChatServiceServicer_to_server, ChatService(turns)),
            (add_ChatSessionServiceServicer_to_server, ChatSessionService(sessions, messages, templates, models)),
            (add_LogServiceServicer_to_server, LogService(logs)),
            (add_ResponseServiceServicer_to_server, responses),
        ),
        jobs=(
            delivery.job,
            log_writer.job,
            reader.job,
            sequences.job,
            tasks.job,
            Job("forget", forget, every=_FORGET_SECONDS, alone=True),
        ),
        events=(conversation_deleted(mesh.blobs),),
        checks={"postgres": mesh.check_postgres},
        # Without Redis turns are still taken; watchers get events later, and logs cannot be read.
        wants={"redis": mesh.check_redis},
        finished=tasks.finished,
    )


SERVICE = Declaration(
    name="orchestrator",
    build=build,
    settings=OrchestratorSettings,
    needs=("postgres", "redis"),
    migrations=Path(__file__).parent / "migrations",
    neighbours=("policy", "memory", "model"),
    access=Access(
        system={
            "pending_turn": "SELECT INSERT",
            "response": "SELECT UPDATE DELETE",
            "response_event": "SELECT INSERT",
            "seal_key": "SELECT INSERT",
        }
    ),
)
