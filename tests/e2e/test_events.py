"""Events: when a conversation is deleted, its session and its responses are deleted too."""

import re
import uuid
from functools import partial

import asyncpg
import httpx
from soma.events.v1.event_pb2 import Event
from soma.memory.v1.events_pb2 import ConversationDeleted

from cli.data_dir import DataDir
from cli.parts.postgres import database_url
from services.mesh.call.authenticator import DEV_PRINCIPAL
from services.mesh.testing.waiting import until
from tests.e2e.scripted import MODEL
from tests.e2e.stack import SOMA, Ended, Stack, command
from tests.e2e.test_sessions import created, said

DEAD_LETTERS = "/v1/events/dead-letters"


async def status_of(http: httpx.AsyncClient, path: str) -> int:
    """The HTTP status of a GET."""
    return (await http.get(path)).status_code


async def is_gone(http: httpx.AsyncClient, *paths: str) -> bool:
    """Whether all of these paths are answered with 404."""
    return {await status_of(http, path) for path in paths} == {404}


async def respond(http: httpx.AsyncClient, conversation: str | None = None) -> str:
    """Make a response, and return its path."""
    body = {"model": MODEL, "input": "Hello?"} | ({"conversation": conversation} if conversation else {})
    answer = await http.post("/v1/responses", json=body)
    assert answer.status_code == 200, answer.text
    return f"/v1/responses/{answer.json()['id']}"


async def delete(http: httpx.AsyncClient, conversation: str) -> int:
    """Delete a conversation in memory; returns the number of its turns."""
    answer = await http.delete(f"/v1/memory/conversations/{conversation}")
    assert answer.status_code == 200, answer.text
    return int(answer.json()["deleted_messages"])


async def deleted(http: httpx.AsyncClient, conversation: str) -> bool:
    """Delete a conversation; whether it had turns, because a turn reaches memory a moment after its end."""
    return await delete(http, conversation) > 0


async def test_the_session_and_responses_of_a_deleted_conversation_are_deleted(stack: Stack) -> None:
    await delete_with_all(stack)


async def test_the_session_and_responses_are_deleted_if_memory_runs_apart(split: Stack) -> None:
    await delete_with_all(split)


async def delete_with_all(stack: Stack) -> None:
    """Delete conversations, and check what is deleted with them and what stays."""
    async with stack.http() as http:
        session, other = await created(http), await created(http)
        sessions = [f"/api/v1/chat/sessions/{each['id']}" for each in (session, other)]
        await said(http, session["id"], "Hello?")
        await said(http, other["id"], "Hello?")
        name = f"tea-{uuid.uuid4()}"
        responses = [await respond(http, name), await respond(http, name)]
        stays = await respond(http)
        assert {await status_of(http, path) for path in (*sessions, *responses, stays)} == {200}

        await until(partial(deleted, http, f"session:{session['id']}"))
        await until(partial(deleted, http, name))
        await until(partial(is_gone, http, sessions[0], *responses))
        assert {await status_of(http, path) for path in (sessions[1], stays)} == {200}

        # The name can be used for a new conversation.
        again = await respond(http, name)
        await until(partial(has_no_lag, http, "memory"))
        assert await status_of(http, again) == 200


async def has_no_lag(http: httpx.AsyncClient, area: str) -> bool:
    """Whether the consumers of an area have handled everything."""
    answer = await http.get("/v1/events/streams")
    assert answer.status_code == 200, answer.text
    (stream,) = [each for each in answer.json()["streams"] if each["area"] == area]
    (group,) = stream["groups"]
    assert group["consumer"] == "orchestrator"
    return bool(group["lag"] == 0)


async def test_a_dead_letter_is_shown_and_replayed_by_the_command(stack: Stack) -> None:
    """The event names no conversation. An operator corrects it in the database, and replays it."""
    tenant = DEV_PRINCIPAL.tenant_id
    event = Event(event_id=str(uuid.uuid4()), type="memory.conversation.deleted", tenant_id=tenant)
    port = stack.part("postgres").port
    database = await asyncpg.connect(database_url(DataDir.at(stack.data_dir)["postgres"], port))
    try:
        await database.execute(
            "INSERT INTO memory.outbox (tenant_id, aggregate, event) VALUES ($1, '', $2)",
            tenant,
            event.SerializeToString(),
        )
        async with stack.http() as http:
            await until(partial(has_letters, http, 1), seconds=30)
            shown = await stack.soma("events")
            assert (shown.status, shown.errors) == (0, "")
            assert re.search(r"^memory +\d+ +\d+ +orchestrator +\d+$", shown.output, re.MULTILINE)
            (line,) = [line for line in shown.output.splitlines() if "EVENT_UNREADABLE" in line]
            assert "memory.conversation.deleted" in line

            event.payload.Pack(ConversationDeleted(conversation_id="tea"))
            put_right = "UPDATE mesh.dead_letter SET event = $2 WHERE event_id = $1"
            await database.execute(put_right, event.event_id, event.SerializeToString())
            replayed = await replay(stack, line.split()[0])
            assert replayed.output == "memory.conversation.deleted is on its way to orchestrator\n", replayed.errors
            await until(partial(has_letters, http, 0))
            again = await http.post(f"{DEAD_LETTERS}/{line.split()[0]}:replay", json={})
            assert again.json()["dead_letter"]["state"] == "STATE_HANDLED"
            unknown = await replay(stack, str(uuid.uuid4()))
            assert unknown.status == 1
            assert unknown.errors.startswith("soma: there is no dead letter")
    finally:
        await database.close()


async def replay(stack: Stack, dead_letter: str) -> Ended:
    """`soma events replay`."""
    return await command(SOMA, "events", "replay", dead_letter, "--data-dir", stack.data_dir, cwd=stack.directory)


async def has_letters(http: httpx.AsyncClient, count: int) -> bool:
    """Whether the tenant has this number of dead letters."""
    answer = await http.get(DEAD_LETTERS, params={"consumer": "orchestrator"})
    assert answer.status_code == 200, answer.text
    return len(answer.json()["dead_letters"]) == count
