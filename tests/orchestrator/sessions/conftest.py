"""Sessions on real Postgres and Redis among scripted neighbours."""

import uuid
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import grpc
import pytest
import redis.asyncio as aioredis
from soma.orchestrator.v1 import chat_session_service_pb2 as pb
from soma.orchestrator.v1.chat_session_service_pb2_grpc import (
    ChatSessionServiceStub,
    add_ChatSessionServiceServicer_to_server,
)

from services.mesh.call import errors
from services.mesh.call.call import run_as
from services.mesh.call.principal import Principal
from services.mesh.call.status import from_rpc_error
from services.mesh.testing.local import SOMEBODY
from services.orchestrator.logs.recording import RecordedTurns
from services.orchestrator.logs.store import Bounds, RedisLogStore
from services.orchestrator.logs.writer import LogWriter
from services.orchestrator.sessions.answering import Answering
from services.orchestrator.sessions.chats import Chats
from services.orchestrator.sessions.conversations import Conversations
from services.orchestrator.sessions.messages import Messages
from services.orchestrator.sessions.service import ChatSessionService
from services.orchestrator.sessions.store import PostgresSessions
from services.orchestrator.sessions.templates import Templates
from tests.orchestrator.conftest import Orchestrator

if TYPE_CHECKING:
    from soma.orchestrator.v1.chat_session_service_pb2_grpc import ChatSessionServiceAsyncStub

    from services.mesh.stores.postgres import Pool

T = TypeVar("T")

BOUNDS = Bounds(entries=1000, entries_per_task=100, tasks=10, seconds=3600)


@dataclass
class Desk:
    """The service's stub, the log it writes, and the delivery to memory it waits for."""

    stub: "ChatSessionServiceAsyncStub"
    sessions: PostgresSessions
    log: RedisLogStore
    writer: LogWriter

    async def create(self, owner: Principal = SOMEBODY, **fields: object) -> pb.CreateChatSessionResponse:
        """A new session."""
        with run_as(owner):
            return await self.stub.CreateChatSession(pb.CreateChatSessionRequest(**fields))  # type: ignore[arg-type]

    async def send(self, session_id: str, message: str = "Hi", **fields: object) -> pb.SendChatMessageResponse:
        """The answer to a message."""
        request = pb.SendChatMessageRequest(session_id=session_id, message=message, **fields)  # type: ignore[arg-type]
        with run_as(SOMEBODY, timeout=20):
            return await self.stub.SendChatMessage(request)

    async def get(self, session_id: str, owner: Principal = SOMEBODY) -> pb.GetChatSessionResponse:
        """A session."""
        with run_as(owner):
            return await self.stub.GetChatSession(pb.GetChatSessionRequest(session_id=session_id))

    async def set_status(self, session_id: str, status: str, etag: str = "") -> pb.SetChatSessionStatusResponse:
        """Move a session."""
        request = pb.SetChatSessionStatusRequest(session_id=session_id, status=status, etag=etag)
        with run_as(SOMEBODY):
            return await self.stub.SetChatSessionStatus(request)

    async def delete(self, session_id: str, owner: Principal = SOMEBODY, etag: str = "") -> None:
        """Delete a session."""
        with run_as(owner):
            await self.stub.DeleteChatSession(pb.DeleteChatSessionRequest(session_id=session_id, etag=etag))

    async def messages(self, session_id: str, **fields: object) -> pb.ListChatMessagesResponse:
        """A page of messages."""
        request = pb.ListChatMessagesRequest(session_id=session_id, **fields)  # type: ignore[arg-type]
        with run_as(SOMEBODY):
            return await self.stub.ListChatMessages(request)

    async def stats(self, session_id: str) -> pb.GetChatSessionStatsResponse:
        """A session's statistics."""
        with run_as(SOMEBODY):
            return await self.stub.GetChatSessionStats(pb.GetChatSessionStatsRequest(session_id=session_id))


async def refused(call: Awaitable[T]) -> errors.MeshError:
    """The error a call ends with."""
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await call
    return from_rpc_error(failure.value)


def new_id() -> str:
    """A request id."""
    return str(uuid.uuid4())


@pytest.fixture
async def desk(orchestrator: Orchestrator, database: "Pool", redis: aioredis.Redis) -> Desk:
    """Sessions among neighbours that follow the script."""
    log = RedisLogStore(redis, BOUNDS)
    writer = LogWriter(log)
    sessions, templates = PostgresSessions(database), Templates.read()
    conversations = Conversations(orchestrator.memory, orchestrator.delivery)
    channel = orchestrator.mesh.channel
    servicer = ChatSessionService(
        Chats(sessions, templates, orchestrator.catalogue, conversations, writer),
        Messages(sessions, Answering(RecordedTurns(orchestrator.turns, writer)), conversations),
        templates,
        orchestrator.catalogue,
    )
    orchestrator.mesh.add(((add_ChatSessionServiceServicer_to_server, servicer),))
    return Desk(ChatSessionServiceStub(channel), sessions, log, writer)
