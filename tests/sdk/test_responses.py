"""Both clients create responses, stream them, and read, cancel and delete them later."""

import asyncio
from datetime import UTC, datetime

import pytest
import somamesh
from soma.memory.v1 import memory_service_pb2 as memory
from soma.mesh.v1.stream_pb2 import StreamError
from soma.model.v1 import message_pb2 as model
from soma.model.v1 import options_pb2 as generation
from soma.orchestrator.v1 import response_service_pb2 as pb
from somamesh import (
    AsyncClient,
    Citation,
    Event,
    Failure,
    InputItem,
    Item,
    Message,
    Reasoning,
    Response,
    TokenLogprob,
    ToolCall,
    Usage,
)

from services.mesh.call import errors
from tests.fakes.responses import Made, response_id
from tests.sdk.conftest import Server
from tests.sdk.drivers import Driver

NOW = datetime.fromtimestamp(1_700_000_000, UTC)
CALL = ToolCall("call_a", "look_up", "{}")
LOGPROB = TokenLogprob("Hello", -0.5, b"", (TokenLogprob("Hi", -1.0),))
WHOLE = Response(
    id=response_id(1),
    state="completed",
    output=(Item("msg_0", "Hello, world", logprobs=(LOGPROB,)), Item("fc_1", tool_call=CALL)),
    model="plain",
    finish_reason="tool_calls",
    usage=Usage(5, 2, 7),
    failure=None,
    previous="",
    conversation="",
    metadata={},
    sources=("fact/1",),
    dropped_params=("top_k",),
    created_at=NOW,
    ended_at=NOW,
)


async def test_a_response_is_whole_when_it_is_returned_and_is_found_again(client: Driver) -> None:
    created = await client.call("create_response", "Hi")
    assert created == WHOLE
    assert (created.text, created.tool_calls) == ("Hello, world", (CALL,))
    assert await client.call("get_response", created.id) == WHOLE


async def test_a_response_streams_as_text_and_is_whole_at_the_end(client: Driver) -> None:
    assert await client.respond("Hi") == (["Hello", ", world"], WHOLE)


async def test_thoughts_and_citations_of_a_response_are_in_its_events_and_its_items(
    server: Server, client: Driver
) -> None:
    first, last = server.responses.script[0], server.responses.script[-1]
    assert isinstance(first, pb.CreateResponseResponse)
    assert isinstance(last, pb.CreateResponseResponse)
    thought = model.Reasoning(text="Hm.", signature="sig", provider="anthropic")
    text = pb.ResponseText(text="Hi", refusal=True, citations=[model.Citation(url="https://a.b", title="A")])
    del last.finished.output[:]
    last.finished.output.add(item_id="rs_1", reasoning=thought)
    last.finished.output.add(item_id="msg_1", text=text)
    pieces = [
        pb.CreateResponseResponse(reasoning=pb.ResponseReasoningDelta(output_index=0, text="Hm.")),
        pb.CreateResponseResponse(delta=pb.ResponseTextDelta(output_index=1, text="Hi")),
    ]
    server.responses.script = [first, *pieces, last]
    events, response = await client.events("stream_response", "Hi")
    assert events == [Event(reasoning="Hm."), Event("Hi")]
    assert response.output == (
        Item("rs_1", reasoning=Reasoning("Hm.", "sig", provider="anthropic")),
        Item("msg_1", "Hi", citations=(Citation("https://a.b", "A"),), refusal=True),
    )
    assert (response.text, response.reasoning) == ("Hi", (response.output[0].reasoning,))


async def test_every_parameter_reaches_the_contract(server: Server, client: Driver) -> None:
    said = [Message("user", "Hi"), Item("msg_0", "Hello"), {"role": "tool", "content": "42", "tool_call_id": "call_a"}]
    await client.call(
        "create_response",
        said,
        model="plain",
        instructions="Be brief.",
        previous="resp_0",
        strategy="hybrid",
        metadata={"a": "b"},
        store=False,
        temperature=0.5,
        top_logprobs=2,
        drop_params=True,
        user="eve",
    )
    assert server.responses.requests == [
        pb.CreateResponseRequest(
            model="plain",
            input=[
                pb.ResponseInput(message=model.Message(role=model.ROLE_USER, content="Hi")),
                pb.ResponseInput(item_id="msg_0"),
                pb.ResponseInput(message=model.Message(role=model.ROLE_TOOL, content="42", tool_call_id="call_a")),
            ],
            settings=pb.ResponseSettings(
                instructions="Be brief.",
                options=generation.GenerationOptions(
                    sampling=generation.Sampling(temperature=0.5, top_logprobs=2), drop_params=True, user="eve"
                ),
                metadata={"a": "b"},
                previous_response_id="resp_0",
                strategy=memory.STRATEGY_HYBRID,
                store=False,
            ),
        )
    ]


async def test_a_background_response_is_returned_as_soon_as_it_has_an_id(server: Server, client: Driver) -> None:
    server.responses.script.insert(3, asyncio.Event())
    begun = await client.call("create_response", "Hi", background=True, conversation="c1", timeout=20)
    assert (begun.id, begun.state, begun.text, begun.ended_at) == (WHOLE.id, "in_progress", "", None)
    assert begun.conversation == "c1"
    assert (await client.call("cancel_response", begun.id)).state == "cancelled"
    assert (await client.call("get_response", begun.id)).state == "cancelled"


async def test_a_background_response_can_be_read_again_from_its_beginning(client: Driver) -> None:
    created = await client.call("create_response", "Hi", background=True)
    assert await client.items("watch_response", created.id) == ["Hello", ", world"]
    with pytest.raises(somamesh.NotFoundError):
        await client.items("watch_response", "resp_9")
    created = await client.call("create_response", "Hi")
    with pytest.raises(somamesh.InvalidRequestError) as caught:
        await client.items("watch_response", created.id)
    assert caught.value.reason == "RESPONSE_NOT_IN_BACKGROUND"


async def test_the_id_is_known_during_the_stream_and_leaving_the_stream_ends_the_response(
    server: Server, soma: AsyncClient
) -> None:
    server.responses.script.insert(3, asyncio.Event())
    async with soma.stream_response("Hi") as stream:
        assert (await stream.begun()).id == WHOLE.id
        assert (await stream.begun()).state == "in_progress"
        assert await anext(stream) == "Hello"
    async with asyncio.timeout(15):
        await server.responses.ended.wait()
    with pytest.raises(somamesh.UnavailableError):
        await stream.response()


async def test_a_response_that_was_cut_is_never_taken_for_complete(server: Server, client: Driver) -> None:
    del server.responses.script[-1]
    with pytest.raises(somamesh.UnavailableError) as caught:
        await client.call("create_response", "Hi")
    assert caught.value.reason == "STREAM_CUT"


async def test_the_input_of_a_response_is_listed_across_pages(server: Server, client: Driver) -> None:
    said = InputItem("msg_0", Message("user", "Hi"))
    result = InputItem("fco_1", Message("tool", "42", tool_call_id="call_a"))
    server.responses.page_size = 1
    created = await client.call("create_response", [said.message, result.message])
    assert await client.items("list_response_inputs", created.id) == [said, result]
    assert await client.items("list_response_inputs", created.id, newest_first=True) == [result, said]
    with pytest.raises(somamesh.NotFoundError):
        await client.items("list_response_inputs", "resp_none")


async def test_a_response_that_failed_says_why(server: Server, client: Driver) -> None:
    error = StreamError(code=14, status="UNAVAILABLE", reason="MODEL_DOWN", message="it is down")
    failed = pb.Response(response_id="resp_9", state=pb.Response.STATE_FAILED, error=error)
    server.responses.kept["resp_9"] = Made(failed)
    response = await client.call("get_response", "resp_9")
    assert (response.state, response.failure) == ("failed", Failure("MODEL_DOWN", "it is down"))


async def test_creating_a_response_is_not_retried_and_reading_it_is(server: Server, client: Driver) -> None:
    server.trouble.failures.append(errors.Unavailable("no", retry_after=0.01))
    with pytest.raises(somamesh.UnavailableError):
        await client.call("create_response", "Hi")
    assert server.responses.requests == []
    created = await client.call("create_response", "Hi")
    for name in ("get_response", "cancel_response"):
        server.trouble.failures.append(errors.Unavailable("no", retry_after=0.01))
        assert (await client.call(name, created.id)).id == created.id


async def test_a_response_that_was_forgotten_is_not_found(client: Driver) -> None:
    created = await client.call("create_response", "Hi")
    await client.call("delete_response", created.id)
    for name in ("get_response", "cancel_response", "delete_response"):
        with pytest.raises(somamesh.NotFoundError):
            await client.call(name, created.id)
