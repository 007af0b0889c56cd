"""Responses that are made in the background act for whoever asked, and end when that ends."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from services.mesh.testing.waiting import until
from services.model.testing.dialects import Behaviour
from services.model.testing.upstreams import FakeUpstream
from tests.e2e.people import account, user, with_key
from tests.e2e.scripted import MODEL
from tests.e2e.stack import Stack

ENDLESS = Behaviour(deltas=["x "] * 10_000, pause=0.02)


async def asked(http: httpx.AsyncClient) -> str:
    """The id of a response that is being made in the background."""
    body = {"model": MODEL, "input": "Tell me everything.", "background": True}
    made = (await http.post("/v1/responses", json=body)).raise_for_status().json()
    assert made["status"] == "in_progress"
    return str(made["id"])


async def stopped(http: httpx.AsyncClient, upstream: FakeUpstream, response_id: str) -> dict[str, Any]:
    """The response, once it is no longer made; its provider was disconnected."""

    async def over() -> bool:
        return bool((await http.get(f"/v1/responses/{response_id}")).json()["status"] != "in_progress")

    await until(over)
    await upstream.until(open=0)
    found: dict[str, Any] = (await http.get(f"/v1/responses/{response_id}")).json()
    return found


@asynccontextmanager
async def working(stack: Stack, upstream: FakeUpstream, key: str) -> AsyncIterator[str]:
    """A response in the background that never ends by itself."""
    upstream.behaviour = ENDLESS
    async with with_key(stack, key) as http:
        response_id = await asked(http)
    await upstream.until(open=1)
    try:
        yield response_id
    finally:
        async with stack.http() as owner:
            await owner.post(f"/v1/responses/{response_id}/cancel")


Ending = Callable[[httpx.AsyncClient, dict[str, Any]], Awaitable[httpx.Response]]
KEYS: dict[str, Ending] = {
    "the account is revoked": lambda http, made: http.delete(f"/v1/service-accounts/{made['service_account_id']}"),
    "the key is revoked": lambda http, made: http.delete(
        f"/v1/service-accounts/{made['service_account_id']}/keys/{made['key_id']}"
    ),
    "the key is rotated without an overlap": lambda http, made: http.post(
        f"/v1/service-accounts/{made['service_account_id']}:rotate", json={"overlap_seconds": 0}
    ),
}


@pytest.mark.parametrize("how", KEYS)
async def test_work_in_the_background_ends_when_its_key_is_revoked(
    stack: Stack, http: httpx.AsyncClient, upstream: FakeUpstream, how: str
) -> None:
    made = await account(http, "execute:chat")
    async with working(stack, upstream, made["api_key"]) as response_id:
        (await KEYS[how](http, made)).raise_for_status()
        found = await stopped(http, upstream, response_id)
        assert found["status"] == "failed", found
        assert "revoked" in json.dumps(found["error"])


async def test_work_in_the_background_ends_when_its_asker_loses_the_scope_and_not_before(
    stack: Stack, http: httpx.AsyncClient, upstream: FakeUpstream
) -> None:
    ann = await user(http, "member", "viewer")
    async with working(stack, upstream, ann["access_token"]) as response_id:
        await http.patch(f"/v1/users/{ann['user_id']}", json={"roles": ["member"]})
        assert (await http.get(f"/v1/responses/{response_id}")).json()["status"] == "in_progress"
        (await http.patch(f"/v1/users/{ann['user_id']}", json={"roles": ["viewer"]})).raise_for_status()
        found = await stopped(http, upstream, response_id)
        assert found["status"] == "failed", found
        assert "execute:chat" in json.dumps(found["error"])


async def test_work_in_the_background_goes_on_after_a_logout(
    stack: Stack, http: httpx.AsyncClient, upstream: FakeUpstream
) -> None:
    ann = await user(http, "member")
    upstream.behaviour = Behaviour(deltas=["word "] * 40, pause=0.02)
    async with with_key(stack, ann["access_token"]) as mine:
        response_id = await asked(mine)
        (await mine.post("/v1/auth/logout", json={})).raise_for_status()

        async def out() -> bool:
            return (await mine.get("/v1/auth/verify")).status_code == 401

        await until(out)
    assert (await stopped(http, upstream, response_id))["status"] == "completed"


async def test_a_turn_in_the_background_is_remembered(
    stack: Stack, http: httpx.AsyncClient, upstream: FakeUpstream
) -> None:
    made = await account(http, "execute:chat")
    async with with_key(stack, made["api_key"]) as mine:
        body = {"model": MODEL, "input": "I am Kim.", "background": True, "conversation": f"c-{made['key_id']}"}
        response_id = (await mine.post("/v1/responses", json=body)).raise_for_status().json()["id"]
    assert (await stopped(http, upstream, response_id))["status"] == "completed"

    async def remembered() -> bool:
        kept = await http.get(f"/v1/memory/conversations/c-{made['key_id']}/messages")
        return "I am Kim." in kept.text

    await until(remembered)
