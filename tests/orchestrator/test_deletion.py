"""What goes with a conversation that is deleted in memory, and what stays."""

import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from soma.events.v1.event_pb2 import Event
from soma.memory.v1.events_pb2 import ConversationDeleted
from soma.memory.v1.memory_service_pb2 import DeleteConversationRequest
from soma.model.v1.message_pb2 import ROLE_USER, Media, Message, Part
from soma.orchestrator.v1.chat_session_service_pb2 import ChatTemplate, CreateChatSessionRequest
from soma.orchestrator.v1.response_service_pb2 import (
    CreateResponseRequest,
    CreateResponseResponse,
    Response,
    ResponseInput,
)

from services.mesh.blobs.blobs import Blobs
from services.mesh.blobs.directory import Directory
from services.mesh.call import errors
from services.mesh.events.event import new_event
from services.mesh.testing.local import SOMEBODY
from services.orchestrator.deletion import conversation_deleted
from services.orchestrator.responses.store import PostgresResponseEvents, PostgresResponses
from services.orchestrator.sessions.conversation import conversation_of, session_of
from services.orchestrator.sessions.store import PostgresSessions
from tests.orchestrator.conftest import unwatched, without_store

if TYPE_CHECKING:
    from tests.databases import OwnedDatabase

ACME = SOMEBODY.tenant_id


def deleted(conversation_id: str, ago: timedelta = timedelta()) -> Event:
    """The event that acme's conversation was deleted."""
    payload = ConversationDeleted(conversation_id=conversation_id)
    return new_event("memory.conversation.deleted", ACME, payload, datetime.now(UTC) - ago)


async def handle(pool: "OwnedDatabase", event: Event) -> None:
    """Handle an event."""
    async with pool.tenants.transaction(event.tenant_id) as connection:
        await conversation_deleted(without_store(pool)).handler(connection, event)


async def respond(pool: "OwnedDatabase", conversation_id: str, tenant_id: str = ACME) -> str:
    """A response that is being made, of a conversation; its id."""
    response = Response(response_id=f"resp_{uuid.uuid4().hex}", state=Response.STATE_IN_PROGRESS)
    response.settings.conversation_id = conversation_id
    await PostgresResponses(pool, unwatched(), without_store(pool)).begin(tenant_id, CreateResponseRequest(), response)
    return response.response_id


async def responses(pool: "OwnedDatabase") -> set[str]:
    """The ids of those there are."""
    return {row["response_id"] for row in await pool.fetch("SELECT response_id FROM orchestrator.response")}


async def test_responses_of_the_conversation_go_with_their_events_and_all_others_stay(
    database: "OwnedDatabase",
) -> None:
    gone, other = await respond(database, "tea"), await respond(database, "coffee")
    alone, foreign = await respond(database, ""), await respond(database, "tea", "globex")
    events = PostgresResponseEvents(database, unwatched())
    await events.add(ACME, gone, CreateResponseResponse(sequence=0))
    await events.close()
    assert await database.fetchval("SELECT count(*) FROM orchestrator.response_event") == 1
    await handle(database, deleted("tea"))
    assert await responses(database) == {other, alone, foreign}
    assert await database.fetchval("SELECT count(*) FROM orchestrator.response_event") == 0


async def test_responses_created_after_the_deletion_stay(database: "OwnedDatabase") -> None:
    stays = await respond(database, "tea")
    await handle(database, deleted("tea", ago=timedelta(minutes=1)))
    assert await responses(database) == {stays}


async def test_responses_that_an_earlier_version_stored_are_deleted_too(database: "OwnedDatabase") -> None:
    gone, other, alone = [await respond(database, name) for name in ("tea", "coffee", "")]
    await database.execute("UPDATE orchestrator.response SET conversation_id = NULL")
    await handle(database, deleted("tea"))
    assert gone not in await responses(database)
    assert await responses(database) == {other, alone}


async def test_the_session_of_the_conversation_is_deleted_with_its_requests(database: "OwnedDatabase") -> None:
    sessions = PostgresSessions(database.tenants)
    made = [await sessions.create(SOMEBODY, CreateChatSessionRequest(), ChatTemplate(), "") for _ in range(2)]
    gone, other = [session.public.id for session in made if session is not None]
    await sessions.claim(ACME, gone, str(uuid.uuid4()), 60.0)
    event = deleted(conversation_of(gone))
    event.tenant_id = "globex"
    await handle(database, event)
    assert await sessions.get(SOMEBODY, gone) is not None
    await handle(database, deleted(conversation_of(gone)))
    await handle(database, deleted(conversation_of(gone)))
    assert await sessions.get(SOMEBODY, gone) is None
    assert await sessions.get(SOMEBODY, other) is not None
    assert await database.fetchval("SELECT count(*) FROM orchestrator.chat_session_request") == 0


async def test_bytes_of_responses_go_with_the_conversation(database: "OwnedDatabase", tmp_path: Path) -> None:
    blobs = Blobs(Directory(tmp_path), database.tenants)
    store = PostgresResponses(database, unwatched(), blobs)
    async with blobs.hold(ACME, b"bytes") as hash:
        for conversation in ("tea", "coffee"):
            response = Response(response_id=f"resp_{uuid.uuid4().hex}", state=Response.STATE_IN_PROGRESS)
            response.settings.conversation_id = conversation
            shown = Message(role=ROLE_USER, parts=[Part(image=Media(hash=hash))])
            await store.begin(ACME, CreateResponseRequest(input=[ResponseInput(message=shown)]), response)
    await handle(database, deleted("tea"))
    assert await blobs.read(ACME, hash) == b"bytes"
    await handle(database, deleted("coffee"))
    with pytest.raises(errors.NotFound):
        await blobs.read(ACME, hash)


async def test_an_event_that_holds_something_else_is_refused(database: "OwnedDatabase") -> None:
    event = new_event("memory.conversation.deleted", ACME, DeleteConversationRequest(conversation_id="tea"))
    with pytest.raises(errors.InvalidArgument) as refused:
        await handle(database, event)
    assert refused.value.reason == "EVENT_UNREADABLE"


def test_only_the_id_of_a_sessions_conversation_gives_a_session() -> None:
    session = uuid.uuid4()
    assert session_of(conversation_of(str(session))) == session
    for other in ("tea", "session:", "session:tea", f"a session:{session}", str(session), f"session:{session.hex}"):
        assert session_of(other) is None
