"""Logs of tasks: as a list, as server-sent events, and over a WebSocket."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect

from services.mesh.testing.waiting import until
from tests.e2e.scripted import MODEL
from tests.e2e.stack import Stack
from tests.e2e.surfaces import events

TURN = ["turn started", "turn finished"]


async def session_of(http: httpx.AsyncClient, **fields: Any) -> str:
    """The id of a new session."""
    answer = await http.post("/api/v1/chat/sessions", json={"model_name": MODEL, **fields})
    session: str = answer.json()["id"]
    return session


async def say(http: httpx.AsyncClient, session: str) -> None:
    """Send a message to a session, and wait for the answer."""
    answer = await http.post(f"/api/v1/chat/sessions/{session}/messages", json={"message": "Tell me of kumquats."})
    assert answer.status_code == 200, answer.text


@asynccontextmanager
async def socket(stack: Stack, query: str, key: str = "") -> AsyncIterator[ClientConnection]:
    """A WebSocket on `/ws/logs`."""
    url = f"{stack.url.replace('http', 'ws', 1)}/ws/logs?token={key or stack.key}{query}"
    async with connect(url, ping_interval=None) as connection:
        yield connection


async def hear(connection: ClientConnection, kind: str = "") -> dict[str, Any]:
    """The next message, or the next message of a kind."""
    async with asyncio.timeout(15):
        while True:
            message: dict[str, Any] = json.loads(await connection.recv())
            if not kind or message["type"] == kind:
                return message


async def test_a_tasks_log_is_stored_and_can_be_searched(http: httpx.AsyncClient) -> None:
    session = await session_of(http, agent_id="agent-7", title="Kumquats")
    await say(http, session)

    async def kept() -> bool:
        answer = await http.get(f"/api/v1/logs/{session}")
        return len(answer.json()["logs"]) == 3

    await until(kept)
    answer = (await http.get(f"/api/v1/logs/{session}")).json()
    assert [entry["message"] for entry in answer["logs"]] == ["turn finished", "turn started", "session created"]
    newest = answer["logs"][0]
    assert (newest["level"], newest["agent_id"], newest["task_id"]) == ("info", "agent-7", session)
    assert (newest["source"], newest["task_status"]) == ("session", "completed")
    assert newest["attributes"]["model"] == MODEL
    assert "umquat" not in str(answer)
    found = await http.get("/api/v1/logs/history?agent_id=agent-7&level=info&search=FINISHED&limit=50")
    assert [entry["message"] for entry in found.json()["logs"]] == ["turn finished"]
    assert (await http.get("/api/v1/logs/history?level=loud")).status_code == 400


async def test_a_turn_outside_of_sessions_is_its_own_task(http: httpx.AsyncClient) -> None:
    body = {"model": MODEL, "messages": [{"role": "ROLE_USER", "content": "hello"}]}
    async with http.stream("POST", "/v1/chat", json=body) as answer:
        told = [json.loads(event) async for event in events(answer)]
    chat_id = told[0]["started"]["chat_id"]

    async def kept() -> bool:
        logs = (await http.get(f"/api/v1/logs/{chat_id}")).json()["logs"]
        return [entry["message"] for entry in logs] == TURN[::-1]

    await until(kept)


async def test_a_task_is_followed_as_server_sent_events(http: httpx.AsyncClient) -> None:
    session = await session_of(http)
    async with http.stream("GET", f"/api/v1/logs/stream/{session}") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        followed = events(answer)
        assert "started" in json.loads(await anext(followed))
        await say(http, session)
        async with asyncio.timeout(15):
            entries = [json.loads(await anext(followed))["entry"] for _ in range(3)]
    assert [entry["message"] for entry in entries] == ["session created", *TURN]
    async with http.stream("GET", f"/api/v1/logs/stream/{session}?after={entries[1]['id']}") as answer:
        followed = events(answer)
        assert json.loads(await anext(followed))["started"]["after"] == entries[1]["id"]
        assert json.loads(await anext(followed))["entry"]["message"] == "turn finished"


async def test_a_websocket_sends_log_entries_and_answers_pings(stack: Stack, http: httpx.AsyncClient) -> None:
    session = await session_of(http, agent_id="agent-9")
    async with socket(stack, f"&task_id={session}&level=info") as connection:
        assert (await hear(connection))["type"] == "connected"
        await say(http, session)
        told = [await hear(connection, "log_entry") for _ in range(3)]
        assert [each["data"]["message"] for each in told] == ["session created", *TURN]
        assert told[1]["data"]["agent_id"] == "agent-9"
        assert (await hear(connection, "task_update"))["data"]["status"] == "completed"
        await connection.send('{"type":"ping"}')
        assert (await hear(connection))["type"] == "pong"


async def test_a_websocket_without_a_valid_credential_is_closed_with_1008(stack: Stack) -> None:
    async with socket(stack, "", key="wrong") as connection:
        async with asyncio.timeout(10):
            await connection.wait_closed()
        assert (connection.close_code, connection.close_reason) == (1008, "the API key or token is not valid")


async def test_the_token_of_a_websocket_is_in_no_log(stack: Stack) -> None:
    async with socket(stack, "") as connection:
        await hear(connection)
    logs = [path.read_text() for path in (stack.data_dir / "logs").glob("*.log")]
    assert logs
    assert not any(stack.key in text for text in logs)


@pytest.mark.parametrize("part", ["redis"])
async def test_chats_go_on_while_redis_is_unavailable_and_are_in_the_log_afterwards(split: Stack, part: str) -> None:
    async with split.http() as http:
        session = await session_of(http)
        async with socket(split, f"&task_id={session}") as connection:
            await hear(connection, "log_entry")
            killed = split.kill(part)
            await say(http, session)
            await split.restarted(part, killed)
            await say(http, session)
            assert (await hear(connection, "log_entry"))["data"]["message"].startswith("turn")
