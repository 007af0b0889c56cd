"""Memories are listed and deleted over REST and native gRPC, and the next chat uses them."""

import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import quote

import grpc
import httpx
import pytest
from soma.memory.v1 import memory_service_pb2 as memory
from soma.memory.v1.memory_service_pb2_grpc import MemoryServiceStub

from tests.e2e.scripted import MODEL
from tests.e2e.stack import CALL_SECONDS, Stack
from tests.e2e.surfaces import events

if TYPE_CHECKING:
    from soma.memory.v1.memory_service_pb2_grpc import MemoryServiceAsyncStub

# A name as it is stored, and as it is written at the end of a path.
NAMES = [
    ("a", "a"),
    ("a/b:c", "a/b:c"),
    ("a/b:c", "a%2Fb%3Ac"),
    ("with a space", "with%20a%20space"),
    ("plus+and&=?#", quote("plus+and&=?#", safe="")),
    ("per%2Fcent", "per%252Fcent"),
    ("größe/日本/🐢", quote("größe/日本/🐢")),
    ("note:archive", "note%3Aarchive"),
    ("ends in a slash/", "ends%20in%20a%20slash%2F"),
    ("two//slashes", "two//slashes"),
    ("a..b/...", "a..b/..."),
]


@pytest.fixture
def prefix() -> str:
    """A prefix of keys that no other test uses."""
    return f"memories/{uuid.uuid4()}/"


@pytest.mark.parametrize(("name", "encoded"), NAMES, ids=[encoded for _, encoded in NAMES])
async def test_a_key_of_any_form_is_recalled_listed_and_forgotten(
    http: httpx.AsyncClient, prefix: str, name: str, encoded: str
) -> None:
    stored = await http.post("/v1/remember", json={"key": prefix + name, "value": name})
    assert stored.status_code == 200, stored.text
    assert (await http.get(f"/v1/recall/{prefix}{encoded}")).json()["value"] == name
    listed = await http.get("/v1/memories", params={"prefix": prefix})
    assert [each["key"] for each in listed.json()["memories"]] == [prefix + name]
    gone = await http.delete(f"/v1/recall/{prefix}{encoded}")
    assert (gone.status_code, gone.json()) == (200, {"key": prefix + name, "deleted": True})
    assert (await http.get(f"/v1/recall/{prefix}{encoded}")).status_code == 404
    again = await http.delete(f"/v1/recall/{prefix}{encoded}")
    assert (again.status_code, again.json()["deleted"]) == (200, False)
    assert (await http.get("/v1/memories", params={"prefix": prefix})).json()["memories"] == []


async def test_conversations_are_listed_until_they_are_deleted(http: httpx.AsyncClient) -> None:
    conversation, path = f"listed-{uuid.uuid4()}", "/v1/memory/conversations"
    said = await http.post(
        f"{path}/{conversation}/messages", json={"messages": [{"role": "ROLE_USER", "content": "Hello"}]}
    )
    assert said.status_code == 200, said.text

    async def listed() -> dict[str, int]:
        counts: dict[str, int] = {}
        params: dict[str, str | int] = {"page_size": 1000}
        while page := (await http.get(path, params=params)).json():
            counts |= {each["conversation_id"]: each["messages"] for each in page["conversations"]}
            if not page["next_page_token"]:
                break
            params["page_token"] = page["next_page_token"]
        return counts

    assert (await listed())[conversation] == 1
    assert (await http.delete(f"{path}/{conversation}")).json() == {"deleted_messages": 1}
    assert conversation not in await listed()
    refused = await http.get(path, params={"page_size": 1001})
    assert (refused.status_code, refused.json()["error"]["status"]) == (400, "INVALID_ARGUMENT")


async def test_a_list_is_filtered_and_read_page_by_page(http: httpx.AsyncClient, prefix: str) -> None:
    for number in range(5):
        metadata = {"category": "even" if number % 2 == 0 else "odd", "tags": ["t", f"t{number}"]}
        await http.post("/v1/remember", json={"key": f"{prefix}{number}", "value": number, "metadata": metadata})

    async def keys(**filters: str | Sequence[str]) -> list[str]:
        listed: list[str] = []
        token = ""
        while True:
            params = {"prefix": prefix, "page_size": "2", "page_token": token, **filters}
            page = (await http.get("/v1/memories", params=params)).json()
            listed += [each["key"].removeprefix(prefix) for each in page["memories"]]
            token = page["next_page_token"]
            if not token:
                return listed

    assert await keys() == ["0", "1", "2", "3", "4"]
    assert await keys(category="even") == ["0", "2", "4"]
    assert await keys(tags=["t", "t3"]) == ["3"]
    assert await keys(category="odd", tags=["t2"]) == []
    refused = await http.get("/v1/memories", params={"page_token": "nobody gave it"})
    assert (refused.status_code, refused.json()["error"]["status"]) == (400, "INVALID_ARGUMENT")


async def test_a_native_client_lists_and_forgets(stack: Stack, channel: grpc.aio.Channel, prefix: str) -> None:
    stub: MemoryServiceAsyncStub = MemoryServiceStub(channel)
    request = memory.RememberRequest(key=f"{prefix}k", ttl_seconds=3600)
    request.value.string_value = "x"
    await stub.Remember(request, metadata=stack.metadata, timeout=CALL_SECONDS)
    asked = memory.ListMemoriesRequest(prefix=prefix)
    (listed,) = (await stub.ListMemories(asked, metadata=stack.metadata, timeout=CALL_SECONDS)).memories
    assert (listed.key, listed.value.string_value, listed.HasField("expires_at")) == (f"{prefix}k", "x", True)
    forgotten = await stub.Forget(memory.ForgetRequest(key=f"{prefix}k"), metadata=stack.metadata, timeout=CALL_SECONDS)
    assert forgotten.deleted
    assert not (await stub.ListMemories(asked, metadata=stack.metadata, timeout=CALL_SECONDS)).memories


async def test_the_next_chat_knows_nothing_of_what_was_forgotten(http: httpx.AsyncClient, prefix: str) -> None:
    key, secret = f"{prefix}safe", f"The code of the safe of {prefix} is four seven one one."

    async def sources() -> list[str]:
        body = {
            "model": MODEL,
            "strategy": "STRATEGY_LONG_ONLY",
            "messages": [{"role": "ROLE_USER", "content": f"What is the code of the safe of {prefix}?"}],
        }
        async with http.stream("POST", "/v1/chat", json=body) as answer:
            async for data in events(answer):
                event = httpx.Response(200, text=data).json()
                if "started" in event:
                    return [source["key"] for source in event["started"]["sources"]]
        pytest.fail("it never started")

    await http.post("/v1/remember", json={"key": key, "value": secret})
    assert key in await sources()
    assert (await http.delete(f"/v1/recall/{key}")).json()["deleted"]
    assert key not in await sources()


async def test_a_credential_is_needed(stack: Stack, prefix: str) -> None:
    async with stack.http(accept="application/json") as stranger:
        assert (await stranger.get("/v1/memories")).status_code == 401
        assert (await stranger.delete(f"/v1/recall/{prefix}k")).status_code == 401
