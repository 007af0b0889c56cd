"""`WS /v1/responses` at the front door: conversations, pictures, and clients that leave."""

import asyncio
from asyncio import get_running_loop

import httpx

from services.mesh.testing.waiting import until
from services.model.testing.dialects import Behaviour, Fault
from services.model.testing.upstreams import FakeUpstream
from tests.e2e.response_socket import answer_of, response_socket
from tests.e2e.stack import CALL_SECONDS, Stack

WITHIN_SECONDS = 0.1
# On a busy machine an attempt may be late; three late attempts are an error of the product.
ATTEMPTS = 3
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
PICTURE = f"data:image/png;base64,{PNG}"


async def test_an_unstored_conversation_with_a_picture_goes_on_and_nothing_of_it_is_stored(
    stack: Stack, http: httpx.AsyncClient, upstream: FakeUpstream
) -> None:
    async with response_socket(stack) as client:
        content = [{"type": "input_text", "text": "Look."}, {"type": "input_image", "image_url": PICTURE}]
        first = await client.turn([{"role": "user", "content": content}], store=False)
        assert answer_of(first) == "Hello there!"
        previous = first["response"]["id"]
        second = await client.turn("What was it?", store=False, previous_response_id=previous)
        assert second["response"]["previous_response_id"] == previous
    asked = upstream.requests[-1]["messages"]
    assert [message["role"] for message in asked] == ["user", "assistant", "user"]
    assert asked[0]["content"][1]["image_url"]["url"] == PICTURE
    for response in (first, second):
        assert (await http.get(f"/v1/responses/{response['response']['id']}")).status_code == 404


async def test_after_a_reconnect_only_stored_responses_go_on(stack: Stack, upstream: FakeUpstream) -> None:
    async with response_socket(stack) as client:
        unstored = (await client.turn("one", store=False))["response"]["id"]
        stored = (await client.turn("two"))["response"]["id"]
    async with response_socket(stack) as client:
        failed = await client.turn("again", store=False, previous_response_id=unstored)
        assert (failed["status"], failed["error"]["code"]) == (400, "previous_response_not_found")
        await client.turn("again", previous_response_id=stored)
    assert [message["content"] for message in upstream.requests[-1]["messages"]] == ["two", "Hello there!", "again"]


async def test_a_stored_response_may_continue_an_unstored_one(
    stack: Stack, http: httpx.AsyncClient, upstream: FakeUpstream
) -> None:
    async with response_socket(stack) as client:
        unstored = (await client.turn("one", store=False))["response"]["id"]
        stored = (await client.turn("two", previous_response_id=unstored))["response"]["id"]
    items = (await http.get(f"/v1/responses/{stored}/input_items?order=asc")).json()["data"]
    assert [item["content"][0]["text"] for item in items] == ["one", "Hello there!", "two"]
    await http.post("/v1/responses", json={"input": "three", "previous_response_id": stored})
    assert [message["content"] for message in upstream.requests[-1]["messages"]] == [
        *("one", "Hello there!", "two", "Hello there!"),
        "three",
    ]


async def test_the_provider_is_disconnected_within_100_ms_and_a_stored_response_is_cancelled(
    stack: Stack, http: httpx.AsyncClient, upstream: FakeUpstream
) -> None:
    upstream.behaviour = Behaviour(deltas=["x "] * 1000, pause=0.02)
    seconds: list[float] = []
    for attempt in range(1, ATTEMPTS + 1):
        async with response_socket(stack) as client:
            await client.create()
            response_id = (await client.event("response.created"))["response"]["id"]
            await client.event("response.output_text.delta")
            # The network breaks, without a handshake.
            client.connection.transport.abort()
            began = get_running_loop().time()
            async with asyncio.timeout(CALL_SECONDS):
                await upstream.until(open=0, left=attempt)
            seconds.append(get_running_loop().time() - began)
    assert min(seconds) < WITHIN_SECONDS

    async def cancelled() -> bool:
        return bool((await http.get(f"/v1/responses/{response_id}")).json()["status"] == "cancelled")

    await until(cancelled)


async def test_a_client_that_leaves_before_the_first_piece_is_noticed_too(stack: Stack, upstream: FakeUpstream) -> None:
    upstream.behaviour = Behaviour(fault=Fault.HANG)
    async with response_socket(stack) as client:
        await client.create()
        await upstream.until(open=1)
        client.connection.transport.abort()
        began = get_running_loop().time()
    async with asyncio.timeout(CALL_SECONDS):
        await upstream.until(open=0, left=1)
    assert get_running_loop().time() - began < 1.0


async def test_a_response_can_be_cancelled_over_http_and_the_connection_goes_on(
    stack: Stack, http: httpx.AsyncClient, upstream: FakeUpstream
) -> None:
    upstream.behaviour = Behaviour(deltas=["x "] * 1000, pause=0.02)
    async with response_socket(stack) as client:
        await client.create()
        response_id = (await client.event("response.created"))["response"]["id"]
        await client.event("response.output_text.delta")
        assert (await http.post(f"/v1/responses/{response_id}/cancel")).status_code == 200
        ended = await client.last()
        assert (ended["type"], ended["response"]["status"]) == ("response.incomplete", "cancelled")
        upstream.behaviour = Behaviour()
        assert (await client.turn())["type"] == "response.completed"


async def test_a_provider_that_fails_ends_the_turn_and_not_the_connection(stack: Stack, upstream: FakeUpstream) -> None:
    async with response_socket(stack) as client:
        upstream.behaviour = Behaviour(fault=Fault.CUT_MID)
        assert (await client.turn())["type"] == "response.failed"
        upstream.behaviour = Behaviour(fault=Fault.BROKEN)
        failed = await client.turn()
        assert (failed["type"], failed["status"]) == ("error", 503)
        upstream.behaviour = Behaviour()
        assert answer_of(await client.turn()) == "Hello there!"


async def test_a_plain_request_to_the_path_is_answered_as_before(http: httpx.AsyncClient) -> None:
    refused = await http.get("/v1/responses")
    assert (refused.status_code, refused.headers["allow"]) == (405, "POST")
    assert (await http.post("/v1/responses", json={"input": "Hi"})).status_code == 200


async def test_the_turns_of_a_connection_are_measured(stack: Stack) -> None:
    labels = {"route": "WS /v1/responses", "status": "200"}
    before = await stack.measured("soma_edge_requests_total", labels)
    async with response_socket(stack) as client:
        for _ in range(2):
            await client.turn(store=False)
    assert await stack.measured("soma_edge_requests_total", labels) == before + 2
