"""The event of a deleted conversation is written together with the deletion."""

from datetime import UTC, datetime

import grpc
import pytest
from soma.events.v1.event_pb2 import Event
from soma.memory.v1 import memory_service_pb2 as pb
from soma.memory.v1.events_pb2 import ConversationDeleted

from services.memory.main import SERVICE
from tests.memory.conftest import Memory, as_globex, user


async def delete(memory: Memory, conversation_id: str) -> int:
    """Delete a conversation; returns how many turns it had."""
    response = await memory.stub.DeleteConversation(pb.DeleteConversationRequest(conversation_id=conversation_id))
    return response.deleted_messages


async def waiting_events(memory: Memory) -> list[Event]:
    """The events that wait for the relay."""
    rows = await memory.pool.fetch("SELECT tenant_id, aggregate, event FROM memory.outbox ORDER BY id")
    events = [Event.FromString(row["event"]) for row in rows]
    assert [row["tenant_id"] for row in rows] == [event.tenant_id for event in events]
    return events


async def test_a_deletion_sends_one_event_with_its_time(memory: Memory) -> None:
    await memory.say("tea", user("green"))
    before = datetime.now(UTC)
    assert await delete(memory, "tea") == 1
    assert await delete(memory, "tea") == 0
    (event,) = await waiting_events(memory)
    payload = ConversationDeleted()
    assert event.payload.Unpack(payload)
    assert (event.type, event.tenant_id, payload.conversation_id) == (SERVICE.sends[0], "acme", "tea")
    assert before <= event.occur_time.ToDatetime(tzinfo=UTC) <= datetime.now(UTC)


async def test_deleting_a_conversation_of_another_tenant_sends_no_event(memory: Memory) -> None:
    await memory.say("tea", user("green"))
    with as_globex():
        assert await delete(memory, "tea") == 0
    assert not await waiting_events(memory)


async def test_a_deletion_whose_event_cannot_be_stored_does_not_happen(memory: Memory) -> None:
    await memory.say("tea", user("green"))
    await memory.pool.execute("ALTER TABLE memory.outbox ADD CONSTRAINT full_up CHECK (false)")
    with pytest.raises(grpc.aio.AioRpcError):
        await delete(memory, "tea")
    assert [turn.message.content for turn in await memory.turns("tea")] == ["green"]
