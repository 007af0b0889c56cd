"""`WS /v1/responses`: the events of a message, the order of messages, and how responses continue each other."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from openai import AsyncOpenAI
from soma.model.v1 import message_pb2 as model
from soma.orchestrator.v1 import response_service_pb2 as pb
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from gateway.edge.openai.kept_responses import MOST_RESPONSES
from services.mesh.call import errors
from tests.fakes.responses import answered, response_id
from tests.gateway.edge.conftest import KEY, RESPONSE_ID, Stand

MISSING = {
    "message": f"Previous response with id '{RESPONSE_ID}' not found.",
    "type": "invalid_request_error",
    "param": "previous_response_id",
    "code": "previous_response_not_found",
}


class Client:
    """A client that sends messages and reads events."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    async def create(self, said: str | list[dict[str, Any]] = "Hi", **members: Any) -> None:
        """Ask for a response."""
        await self.connection.send(json.dumps({"type": "response.create", "input": said} | members))

    async def event(self) -> dict[str, Any]:
        """The next event."""
        async with asyncio.timeout(10):
            event: dict[str, Any] = json.loads(await self.connection.recv())
            return event

    async def events(self) -> list[dict[str, Any]]:
        """The events up to the end of a response, or an error."""
        found = [await self.event()]
        while found[-1]["type"] not in ("response.completed", "response.incomplete", "response.failed", "error"):
            found.append(await self.event())
        return found

    async def turn(self, said: str | list[dict[str, Any]] = "Hi", **members: Any) -> dict[str, Any]:
        """Ask for a response; returns its last event."""
        await self.create(said, **members)
        return (await self.events())[-1]


@asynccontextmanager
async def connected(stand: Stand, query: str = "", **headers: str) -> AsyncIterator[Client]:
    """A client with the key, unless other headers are given."""
    url = f"{stand.url.replace('http', 'ws', 1)}/v1/responses{query}"
    named = headers or {"authorization": f"Bearer {KEY}"}
    async with connect(url, additional_headers=named, ping_interval=None, max_size=None) as connection:
        yield Client(connection)


@pytest.fixture
async def client(stand: Stand) -> AsyncIterator[Client]:
    async with connected(stand) as made:
        yield made


def said(request: pb.CreateResponseRequest) -> list[str]:
    """The texts of a request's input: messages, and items of earlier answers."""
    return [each.message.content or each.item.text.text for each in request.input]


async def test_the_events_are_those_of_a_stream_over_http(
    client: Client, stand: Stand, http: httpx.AsyncClient
) -> None:
    answer = await http.post("/v1/responses", json={"input": "Hi", "stream": True})
    streamed = [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: {")]
    stand.responses.reset(answered("Hello", ", world"))
    await client.create()
    assert await client.events() == streamed
    assert stand.responses.requests[0].settings.options.whole is False


async def test_messages_are_answered_one_after_the_other(client: Client, stand: Stand) -> None:
    gate = asyncio.Event()
    stand.responses.script = [*answered("Hello")[:2], gate, *answered("Hello")[2:]]
    await client.create("one", store=False)
    await client.create("two", store=False)
    assert (await client.event())["type"] == "response.created"
    # The server has read both messages when it answers a ping.
    await (await client.connection.ping())
    assert len(stand.responses.requests) == 1
    gate.set()
    first, second = await client.events(), await client.events()
    assert [each[-1]["response"]["id"] for each in (first, second)] == [response_id(1), response_id(2)]
    assert [event["sequence_number"] for event in second] == list(range(len(second)))


async def test_an_unstored_response_is_continued_with_its_context(client: Client, stand: Stand) -> None:
    await client.turn("one", store=False, instructions="Be brief.")
    second = await client.turn("two", store=False, previous_response_id=response_id(1))
    third = await client.turn("three", store=False, previous_response_id=response_id(2))
    assert second["response"]["previous_response_id"] == response_id(1)
    assert third["response"]["previous_response_id"] == response_id(2)
    asked = stand.responses.requests[2]
    assert said(asked) == ["one", "Hello, world", "two", "Hello, world", "three"]
    assert not asked.settings.previous_response_id
    # Instructions are those of one response.
    assert not asked.settings.instructions


async def test_a_chain_may_begin_with_a_stored_response_and_branch(client: Client, stand: Stand) -> None:
    await client.turn("one")
    await client.turn("two", store=False, previous_response_id=response_id(1))
    for branch in ("three", "four"):
        await client.turn(branch, store=False, previous_response_id=response_id(2))
    stored = await client.turn("five", previous_response_id=response_id(4))
    assert [said(request) for request in stand.responses.requests[2:]] == [
        ["two", "Hello, world", "three"],
        ["two", "Hello, world", "four"],
        ["two", "Hello, world", "four", "Hello, world", "five"],
    ]
    assert {request.settings.previous_response_id for request in stand.responses.requests[1:]} == {response_id(1)}
    assert stored["response"]["previous_response_id"] == response_id(4)


async def test_the_calls_and_thoughts_of_an_unstored_response_are_kept_whole(client: Client, stand: Stand) -> None:
    thought = pb.ResponseItem(reasoning=model.Reasoning(text="Hm.", signature="signed", provider="claude"))
    call = pb.ResponseItem(tool_call=model.ToolCall(call_id="c1", name="look", arguments="{}", signature="s"))
    done = pb.Response(state=pb.Response.STATE_COMPLETED, output=[thought, call])
    stand.responses.script = [answered()[0], pb.CreateResponseResponse(finished=done)]
    await client.turn(store=False)
    result = [{"type": "function_call_output", "call_id": "c1", "output": "a cat"}]
    await client.turn(result, store=False, previous_response_id=response_id(1))
    sent = stand.responses.requests[1].input
    assert [sent[1].item, sent[2].item] == [thought, call]
    assert sent[3].message.tool_call_id == "c1"


async def test_another_connection_does_not_know_an_unstored_response(client: Client, stand: Stand) -> None:
    await client.turn(store=False)
    stand.responses.failure = errors.InvalidArgument(
        MISSING["message"],
        reason="PREVIOUS_RESPONSE_NOT_FOUND",
        violations=[errors.FieldViolation("previous_response_id", MISSING["message"])],
    )
    async with connected(stand) as other:
        failed = await other.turn(store=False, previous_response_id=RESPONSE_ID)
        assert failed == {"type": "error", "status": 400, "error": MISSING}
        stand.responses.failure = None
        assert (await other.turn("all of it", store=False))["type"] == "response.completed"


@pytest.mark.parametrize(
    "wrong",
    [{"temperature": 9}, {"input": [{"type": "function_call_output", "call_id": "c9", "output": "x"}]}, {"tools": [1]}],
)
async def test_a_failed_continuation_ends_the_chain(client: Client, stand: Stand, wrong: dict[str, Any]) -> None:
    await client.turn(store=False)
    if "input" in wrong:
        stand.responses.script = [errors.InvalidArgument("no such call", reason="TOOL_CALL_NOT_FOUND")]
    failed = await client.turn(**dict[str, Any]({"store": False, "previous_response_id": response_id(1)} | wrong))
    assert (failed["type"], failed["status"]) == ("error", 400)
    stand.responses.script = [*answered("Hello")]
    await client.turn("stale", store=False, previous_response_id=response_id(1))
    # The service is asked for it by its id, and does not know it.
    assert stand.responses.requests[-1].settings.previous_response_id == response_id(1)
    assert said(stand.responses.requests[-1]) == ["stale"]


async def test_a_response_that_fails_after_it_began_ends_the_chain_too(client: Client, stand: Stand) -> None:
    await client.turn(store=False)
    stand.responses.script = [*answered("Hello")[:3], errors.Unavailable("the model went away")]
    failed = await client.turn("two", store=False, previous_response_id=response_id(1))
    # A turn has one end: no event `error` comes before it.
    assert (failed["type"], failed["response"]["error"]["message"]) == ("response.failed", "the model went away")
    stand.responses.script = [*answered("Hello")]
    await client.turn("stale", store=False, previous_response_id=response_id(1))
    assert said(stand.responses.requests[-1]) == ["stale"]


async def test_only_the_latest_responses_can_be_continued(client: Client, stand: Stand) -> None:
    for _ in range(MOST_RESPONSES + 1):
        await client.turn(store=False)
    await client.turn("again", store=False, previous_response_id=response_id(2))
    await client.turn("stale", store=False, previous_response_id=response_id(1))
    assert [said(request) for request in stand.responses.requests[-2:]] == [["Hi", "Hello, world", "again"], ["stale"]]


async def test_input_can_be_prepared_without_an_answer(client: Client, stand: Stand) -> None:
    await client.create("a long file", model="plain", generate=False)
    events = await client.events()
    assert [event["type"] for event in events] == ["response.created", "response.in_progress", "response.completed"]
    response = events[-1]["response"]
    assert (response["status"], response["output"], response["store"], response["model"]) == (
        *("completed", [], False),
        "plain",
    )
    assert not stand.responses.requests
    await client.turn("a question", previous_response_id=response["id"])
    assert said(stand.responses.requests[0]) == ["a long file", "a question"]


async def test_the_events_have_the_stream_id_of_their_message(client: Client) -> None:
    await client.create(stream_id="lane-1")
    assert {event["stream_id"] for event in await client.events()} == {"lane-1"}
    failed = await client.turn(stream_id="lane-2", temperature=9)
    assert (failed["stream_id"], failed["error"]["param"]) == ("lane-2", "temperature")
    assert "stream_id" not in await client.turn()


@pytest.mark.parametrize(
    ("message", "param", "code"),
    [
        ("nonsense", None, "invalid_request_error"),
        ("[]", None, "invalid_request_error"),
        ("", None, "invalid_request_error"),
        ('{"input": "Hi"}', "type", "missing_required_parameter"),
        ('{"type": "response.steer", "input": "Hi"}', "type", "invalid_value"),
        ('{"type": {}, "input": "Hi"}', "type", "invalid_value"),
        ('{"type": "response.create"}', "input", "missing_required_parameter"),
        ('{"type": "response.create", "input": "Hi", "background": true}', "background", "invalid_value"),
        ('{"type": "response.create", "input": "Hi", "stream": false}', "stream", "invalid_value"),
        ('{"type": "response.create", "input": "Hi", "stream_id": 1}', "stream_id", "invalid_value"),
        ('{"type": "response.create", "input": "Hi", "generate": "no"}', "generate", "invalid_value"),
        ('{"type": "response.create", "input": 7}', "input", "invalid_type"),
    ],
)
async def test_a_wrong_message_is_an_error_and_the_connection_goes_on(
    client: Client, message: str, param: str | None, code: str
) -> None:
    for frame in (message, message.encode()):
        await client.connection.send(frame)
        failed = await client.event()
        assert (failed["type"], failed["status"]) == ("error", 400)
        assert (failed["error"]["param"], failed["error"]["code"]) == (param, code)
    assert (await client.turn())["type"] == "response.completed"


async def test_parameters_of_http_that_change_nothing_are_accepted(client: Client) -> None:
    done = await client.turn(stream=True, background=False, stream_options=None, client_metadata={"a": 1})
    assert done["type"] == "response.completed"


async def test_an_error_says_when_to_retry(client: Client, stand: Stand) -> None:
    stand.responses.script = [errors.Unavailable("too busy", reason="OVERLOADED", retry_after=3.0)]
    failed = await client.turn()
    assert (failed["status"], failed["error"]["code"]) == (503, "overloaded")
    assert failed["error"]["headers"]["retry-after"] == "3"


async def test_a_client_that_leaves_ends_its_response(stand: Stand) -> None:
    stand.responses.script = [*answered("Hello")[:3], asyncio.Event()]
    async with connected(stand) as client:
        await client.create()
        assert (await client.event())["type"] == "response.created"
    async with asyncio.timeout(5):
        await stand.responses.ended.wait()


async def test_a_credential_that_is_wrong_is_refused_with_a_status(stand: Stand) -> None:
    for headers in ({"authorization": "Bearer wrong"}, {"x-api-key": "wrong"}, {"x-other": "none"}):
        with pytest.raises(InvalidStatus) as refused:
            async with connected(stand, **headers):
                pytest.fail("it was accepted")
        assert refused.value.response.status_code == 401
        assert json.loads(refused.value.response.body)["error"]["code"] == "invalid_api_key"


async def test_a_browser_sends_its_key_as_token_and_gets_refusals_as_events(stand: Stand) -> None:
    async with connected(stand, f"?token={KEY}", origin="https://example.com") as client:
        assert (await client.turn())["type"] == "response.completed"
    async with connected(stand, "?token=wrong", origin="https://example.com") as client:
        assert (await client.event())["error"]["code"] == "invalid_api_key"
        with pytest.raises(ConnectionClosed) as closed:
            await client.event()
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1008, "the API key is not valid")


async def test_openais_python_client_holds_a_conversation(openai: AsyncOpenAI, stand: Stand) -> None:
    async with openai.responses.connect() as connection:
        texts: list[str] = []
        for number, question in enumerate(("one", "two")):
            previous = {"previous_response_id": response_id(number)} if number else {}
            await connection.response.create(model="plain", input=question, store=False, **previous)  # type: ignore[arg-type]
            async for event in connection:
                if event.type == "response.output_text.delta":
                    texts.append(event.delta)
                if event.type == "response.completed":
                    break
    assert texts == ["Hello", ", world"] * 2
    assert said(stand.responses.requests[1]) == ["one", "Hello, world", "two"]
