"""Deletes the chat session of a deleted conversation, and its responses with their events."""

from datetime import UTC
from functools import partial
from typing import TYPE_CHECKING

from soma.errors.v1 import reasons
from soma.memory.v1.events_pb2 import ConversationDeleted

from services.mesh.blobs.blobs import Blobs
from services.mesh.call import errors
from services.mesh.events.consumer import Consumer
from services.orchestrator.responses import store as responses
from services.orchestrator.sessions import store as sessions
from services.orchestrator.sessions.conversation import session_of

if TYPE_CHECKING:
    from soma.events.v1.event_pb2 import Event

    from services.mesh.stores.postgres import Connection


async def delete_with_conversation(blobs: Blobs, connection: "Connection", event: "Event") -> None:
    """Handle `memory.conversation.deleted`.

    Responses that were created after the deletion belong to a new conversation of the same id, and stay.

    Raises:
        InvalidArgument: EVENT_UNREADABLE: the event does not hold a ConversationDeleted.
    """
    payload = ConversationDeleted()
    if not event.payload.Unpack(payload):
        raise errors.InvalidArgument("the event holds no ConversationDeleted", reason=reasons.EVENT_UNREADABLE)
    conversation_id, until = payload.conversation_id, event.occur_time.ToDatetime(tzinfo=UTC)
    await responses.delete_of_conversation(connection, blobs, event.tenant_id, conversation_id, until)
    session_id = session_of(conversation_id)
    if session_id is not None:
        await sessions.delete_of_conversation(connection, event.tenant_id, session_id)


def conversation_deleted(blobs: Blobs) -> Consumer:
    """The consumer of the event that memory deleted a conversation."""
    return Consumer("memory.conversation.deleted", partial(delete_with_conversation, blobs))
