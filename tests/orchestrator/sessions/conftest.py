"""Sessions as their callers see them."""

import uuid
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import grpc
import pytest
from soma.orchestrator.v1 import chat_session_service_pb2 as pb
from soma.orchestrator.v1.log_service_pb2 import LogEntry, QueryLogsRequest

from services.mesh.call import errors
from services.mesh.call.call import run_as
from services.mesh.call.principal import Principal
from services.mesh.call.status import from_rpc_error
from services.mesh.testing.local import SOMEBODY
from services.mesh.testing.waiting import until
from tests.orchestrator.conftest import Orchestrator

if TYPE_CHECKING:
    from soma.orchestrator.v1.chat_session_service_pb2_grpc import ChatSessionServiceAsyncStub
    from soma.orchestrator.v1.log_service_pb2_grpc import LogServiceAsyncStub

T = TypeVar("T")


@dataclass
class Desk:
    """The service's stub, and that of the log it writes."""

    stub: "ChatSessionServiceAsyncStub"
    log: "LogServiceAsyncStub"

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

    async def logged(self, session_id: str, count: int) -> list[LogEntry]:
        """A session's entries in the log, oldest first, once there are so many."""
        entries: list[LogEntry] = []

        async def there() -> bool:
            with run_as(SOMEBODY):
                entries[:] = (await self.log.QueryLogs(QueryLogsRequest(task_id=session_id))).logs
            return len(entries) >= count

        await until(there)
        return entries[::-1]


async def refused(call: Awaitable[T]) -> errors.MeshError:
    """The error a call ends with."""
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await call
    return from_rpc_error(failure.value)


def new_id() -> str:
    """A request id."""
    return str(uuid.uuid4())


@pytest.fixture
def desk(orchestrator: Orchestrator) -> Desk:
    """Sessions of the orchestrator."""
    return Desk(orchestrator.sessions, orchestrator.logs)
