"""The conversations of sessions: the memory service keeps each under an id made from the session's id."""

from uuid import UUID

from soma.memory.v1 import memory_service_pb2

from services.orchestrator.adapters.memory import Memory
from services.orchestrator.chat.delivery import Delivery

_PREFIX = "session:"


def conversation_of(session_id: str) -> str:
    """The id of a session's conversation."""
    return f"{_PREFIX}{session_id}"


def session_of(conversation_id: str) -> UUID | None:
    """The id of the session that a conversation belongs to; None if it belongs to none."""
    prefix, _, session_id = conversation_id.rpartition(_PREFIX)
    try:
        found = UUID(session_id)
    except ValueError:
        return None
    return found if not prefix and conversation_of(str(found)) == conversation_id else None


class Conversations:
    """Reads and deletes conversations; each method first waits until memory has all turns of the conversation."""

    def __init__(self, memory: Memory, delivery: Delivery) -> None:
        self._memory = memory
        self._delivery = delivery

    async def page(
        self, tenant_id: str, session_id: str, page_size: int, page_token: str
    ) -> memory_service_pb2.ListMessagesResponse:
        """A page of messages, oldest first."""
        conversation_id = conversation_of(session_id)
        await self._delivery.settle(tenant_id, conversation_id)
        return await self._memory.messages(
            memory_service_pb2.ListMessagesRequest(
                conversation_id=conversation_id, page_size=page_size, page_token=page_token
            )
        )

    async def delete(self, tenant_id: str, session_id: str) -> None:
        """Delete the conversation of a session."""
        conversation_id = conversation_of(session_id)
        await self._delivery.settle(tenant_id, conversation_id)
        await self._memory.delete(conversation_id)
