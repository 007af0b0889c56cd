"""`/ws/logs`: what a client receives, what it may send, and how long it may be silent."""

import asyncio
from contextlib import AsyncExitStack
from datetime import datetime
from typing import TYPE_CHECKING

import pytest
import redis.asyncio as aioredis
from websockets.exceptions import InvalidStatus

from services.mesh.testing.waiting import until
from tests.gateway.edge.logs.conftest import Client, Stand, standing

if TYPE_CHECKING:
    from tests.databases import OwnedDatabase


async def connected(client: Client) -> None:
    """Wait until the server sends entries."""
    assert (await client.hear())["type"] == "connected"
    await client.say({"type": "ping"})
    assert (await client.hear())["type"] == "pong"


async def entry(client: Client) -> str:
    """The message of the next entry."""
    received = await client.hear()
    assert received["type"] == "log_entry"
    message: str = received["data"]["message"]
    return message


async def test_an_entry_is_sent_with_the_documented_fields(stand: Stand) -> None:
    async with stand.socket("?task_id=t-1") as client:
        await connected(client)
        await stand.write("Task processing started", agent="a-1")
        received = await client.hear()
    assert received["type"] == "log_entry"
    data = received["data"]
    assert {name: data[name] for name in ("level", "message", "agent_id", "task_id", "source")} == {
        "level": "info",
        "message": "Task processing started",
        "agent_id": "a-1",
        "task_id": "t-1",
        "source": "session",
    }
    assert datetime.fromisoformat(data["timestamp"]).tzinfo is not None


@pytest.mark.parametrize(
    ("query", "expected"),
    [("?level=warning", ["severe"]), ("?agent_id=a-2", ["other"]), ("?task_id=t-2&level=debug", ["other"])],
)
async def test_entries_are_filtered_by_the_query(stand: Stand, query: str, expected: list[str]) -> None:
    async with stand.socket(query) as client:
        await connected(client)
        await stand.write("plain", agent="a-1")
        await stand.write("other", task="t-2", agent="a-2")
        await stand.write("severe", level="error")
        assert [await entry(client) for _ in expected] == expected


async def test_filters_change_while_connected(stand: Stand) -> None:
    async with stand.socket("?level=error") as client:
        await connected(client)
        await client.say({"type": "update_filters", "filters": {"level": None, "task_id": "t-2"}})
        changed = await client.hear()
        assert changed == {"type": "filters_updated", "filters": {"agent_id": None, "task_id": "t-2", "level": None}}
        await stand.write("one", task="t-1")
        await stand.write("two", task="t-2")
        assert await entry(client) == "two"


@pytest.mark.parametrize(
    ("said", "error"),
    [
        ("nonsense", "a message is a JSON object"),
        ("[1]", "a message is a JSON object"),
        ('{"type":"nonsense"}', "type must be ping or update_filters"),
        ('{"type":"update_filters"}', "filters must be an object"),
        ('{"type":"update_filters","filters":{"colour":"red"}}', "there is no filter 'colour'"),
        ('{"type":"update_filters","filters":{"level":"loud"}}', "level must be one of"),
        ('{"type":"update_filters","filters":{"task_id":5}}', "task_id must be a string"),
    ],
)
async def test_an_invalid_message_gets_an_error_and_the_connection_stays_open(
    stand: Stand, said: str, error: str
) -> None:
    async with stand.socket() as client:
        await client.hear()
        await client.connection.send(said)
        received = await client.hear()
        assert received["type"] == "error"
        assert received["message"].startswith(error)
        await client.say({"type": "ping"})
        assert (await client.hear())["type"] == "pong"


async def test_a_pong_has_the_time(stand: Stand) -> None:
    async with stand.socket() as client:
        await client.hear()
        await client.say({"type": "ping"})
        pong = await client.hear()
    assert set(pong) == {"type", "timestamp"}
    assert datetime.fromisoformat(pong["timestamp"]).tzinfo is not None


@pytest.mark.parametrize(
    ("query", "key", "reason"),
    [
        ("", "", "send an API key"),
        ("", "wrong", "the API key is not valid"),
        ("?token=wrong", "", "the API key is not valid"),
        ("", "alex-unscoped", "needs the scope read:logs"),
        ("?level=loud", "alex", "level must be one of"),
        ("?colour=red", "alex", "there is no filter 'colour'"),
    ],
)
async def test_a_refused_client_is_closed_with_1008(stand: Stand, query: str, key: str, reason: str) -> None:
    async with stand.socket(query, key) as client:
        code, why = await client.ended()
    assert code == 1008
    assert reason in why


@pytest.mark.parametrize("query", ["?token=alex", "?token=alex&level=info"])
async def test_a_token_in_the_query_is_accepted(stand: Stand, query: str) -> None:
    async with stand.socket(query, key="") as client:
        assert (await client.hear())["type"] == "connected"


async def test_another_path_is_404(stand: Stand) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with stand.socket(path="/ws/nonsense"):
            raise AssertionError("connected")
    assert refused.value.response.status_code == 404


async def test_a_client_without_pings_is_closed_whatever_else_it_sends(
    database: "OwnedDatabase", redis: aioredis.Redis
) -> None:
    async with standing(database, redis, socket_silence_seconds=0.5) as stand, stand.socket() as client:
        await client.hear()
        began = asyncio.get_running_loop().time()
        await client.say({"type": "update_filters", "filters": {}})
        assert await client.ended() == (1008, "no ping for 0.5 seconds")
        assert asyncio.get_running_loop().time() - began < 15


async def test_pings_keep_a_connection_open(database: "OwnedDatabase", redis: aioredis.Redis) -> None:
    async with standing(database, redis, socket_silence_seconds=1.5) as stand, stand.socket() as client:
        await client.hear()
        began = asyncio.get_running_loop().time()
        while asyncio.get_running_loop().time() - began < 2.5:
            await client.say({"type": "ping"})
            assert (await client.hear())["type"] == "pong"
            await asyncio.sleep(0.1)


@pytest.mark.parametrize("query", ["", "?token=alex"])
async def test_a_connection_whose_key_is_revoked_ends_with_its_next_ping(stand: Stand, query: str) -> None:
    async with stand.socket(query, key="" if query else "alex") as client:
        assert (await client.hear())["type"] == "connected"
        await client.say({"type": "ping"})
        assert (await client.hear())["type"] == "pong"
        stand.revoked.add("alex")
        await client.say({"type": "ping"})
        assert await client.ended() == (1008, "the API key is not valid")


async def test_a_client_without_the_scope_that_pings_at_once_is_closed_all_the_same(stand: Stand) -> None:
    for _ in range(100):
        async with stand.socket(key="alex-unscoped") as client:
            await client.say({"type": "ping"})
            assert (await client.ended())[0] == 1008


async def test_a_message_over_the_limit_is_refused_with_a_time_to_retry(stand: Stand) -> None:
    async with stand.socket() as client:
        await client.hear()
        for _ in range(100):
            await client.say({"type": "ping"})
        assert [(await client.hear())["type"] for _ in range(100)] == ["pong"] * 100
        await client.say({"type": "ping"})
        refused = await client.hear()
    assert refused["type"] == "error"
    assert refused["message"] == "Rate limit exceeded. Please wait before sending more messages."
    assert 0 < refused["retry_after"] <= 60


async def test_a_user_may_have_fifty_connections_and_all_users_two_hundred(stand: Stand) -> None:
    async with AsyncExitStack() as stack:

        async def open_as(key: str) -> Client:
            client = await stack.enter_async_context(stand.socket(key=key))
            assert (await client.hear())["type"] == "connected"
            return client

        first = [await open_as("u0") for _ in range(50)]
        async with stand.socket(key="u0") as refused:
            assert await refused.ended() == (1008, "a user may have 50 connections at once")
        await first[0].connection.close()
        await first[0].ended()
        await _freed(stand, 49)
        await open_as("u0")
        for user in (1, 2, 3):
            for _ in range(50):
                await open_as(f"u{user}")
        async with stand.socket(key="u4") as refused:
            code, why = await refused.ended()
            assert (code, why.startswith("there are 200 connections already")) == (1008, True)
    await _freed(stand, 0)


async def _freed(stand: Stand, count: int) -> None:
    async def counted() -> bool:
        taken: int = await stand.redis.zcard("soma:{sockets}")
        return taken == count

    await until(counted)


async def test_the_slots_of_a_process_that_died_become_free(database: "OwnedDatabase", redis: aioredis.Redis) -> None:
    async with standing(database, redis, sockets_per_user=1) as stand:
        await redis.zadd("soma:{sockets}:4:acme:alex", {"of the dead": 1.0})
        async with stand.socket() as client:
            assert (await client.hear())["type"] == "connected"


async def test_a_stopping_server_closes_its_connections(database: "OwnedDatabase", redis: aioredis.Redis) -> None:
    async with AsyncExitStack() as stack:
        async with standing(database, redis) as stand:
            client = await stack.enter_async_context(stand.socket())
            await client.hear()
        assert (await client.ended())[0] == 1012
