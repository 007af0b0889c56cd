"""What is said in sessions: kept by the memory service, under a name of the session's own."""

from typing import Protocol
from uuid import UUID

from soma.memory.v1 import memory_service_pb2

from services.orchestrator.chat.delivery import Delivery


class Memory(Protocol):
    """Conversations in the memory service."""

    async def turns(self, request: memory_service_pb2.ListMessagesRequest) -> memory_service_pb2.ListMessagesResponse:
        """A page of a conversation; empty where nothing was said."""
        ...

    async def forget(self, conversation_id: str) -> None:
        """Forget a conversation."""
        ...


_PREFIX = "session:"


def conversation_of(session_id: str) -> str:
    """The conversation of a session."""
    return f"{_PREFIX}{session_id}"


def session_of(conversation_id: str) -> UUID | None:
    """The session whose conversation it is; None where it is no session's."""
    prefix, _, session_id = conversation_id.rpartition(_PREFIX)
    try:
        found = UUID(session_id)
    except ValueError:
        return None
    return found if not prefix and conversation_of(str(found)) == conversation_id else None


class Conversations:
    """Reads and forgets what was said; turns on their way to memory arrive there first."""

    def __init__(self, memory: Memory, delivery: Delivery) -> None:
        self._memory = memory
        self._delivery = delivery

    async def page(
        self, tenant_id: str, session_id: str, page_size: int, page_token: str
    ) -> memory_service_pb2.ListMessagesResponse:
        """A page of turns, oldest first."""
        conversation_id = conversation_of(session_id)
        await self._delivery.settle(tenant_id, conversation_id)
        return await self._memory.turns(
            memory_service_pb2.ListMessagesRequest(
                conversation_id=conversation_id, page_size=page_size, page_token=page_token
            )
        )

    async def forget(self, tenant_id: str, session_id: str) -> None:
        """Forget everything that was said."""
        conversation_id = conversation_of(session_id)
        await self._delivery.settle(tenant_id, conversation_id)
        await self._memory.forget(conversation_id)
