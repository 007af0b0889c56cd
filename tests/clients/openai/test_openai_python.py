"""OpenAI's Python client: sync and async, complete and streamed answers, helpers and exceptions."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from pydantic import BaseModel

from services.mesh.testing.waiting import until
from tests.clients.openai.answering import TEXT
from tests.e2e.scripted import CLAUDE, MODEL
from tests.e2e.stack import Stack
from tests.e2e.test_openai_parts import PICTURE

HI: Any = [{"role": "user", "content": "Hi"}]
WEATHER: Any = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
}
FLAT: Any = {"type": "function", **WEATHER["function"]}
ROME_AND_OSLO = ['{"city": "Rome"}', '{"city": "Oslo"}']
HELLO = "".join(TEXT)


class Person(BaseModel):
    """The type of a structured answer."""

    name: str
    age: int


class City(BaseModel):
    """The arguments of a tool."""

    city: str


ADA = Person(name="Ada", age=36)


@pytest.fixture
async def client(stack: Stack) -> AsyncIterator[AsyncOpenAI]:
    """The async client."""
    async with stack.openai() as made:
        yield made


@pytest.fixture
def blocking(stack: Stack) -> Iterator[OpenAI]:
    """The sync client."""
    with OpenAI(base_url=f"{stack.url}/v1", api_key=stack.key, max_retries=0) as made:
        yield made


async def test_the_sync_client_holds_a_chat_with_complete_and_streamed_answers(blocking: OpenAI) -> None:
    def chat() -> tuple[str | None, str]:
        whole = blocking.chat.completions.create(model=MODEL, messages=HI)
        stream = blocking.chat.completions.create(model=MODEL, messages=HI, stream=True)
        return whole.choices[0].message.content, "".join(chunk.choices[0].delta.content or "" for chunk in stream)

    assert await asyncio.to_thread(chat) == (HELLO, HELLO)


async def test_the_async_client_gets_several_choices_with_usage(client: AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(model=MODEL, messages=HI, n=3)
    assert [choice.message.content for choice in answer.choices] == [HELLO] * 3
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 9


async def test_parallel_tool_calls_are_answered_and_the_model_continues(client: AsyncOpenAI) -> None:
    asked = [*HI]
    first = (await client.chat.completions.create(model=MODEL, messages=asked, tools=[WEATHER])).choices[0]
    assert first.finish_reason == "tool_calls"
    calls: Any = first.message.tool_calls
    assert [call.function.arguments for call in calls] == ROME_AND_OSLO
    results = [{"role": "tool", "tool_call_id": call.id, "content": f"{call.id} is sunny. "} for call in calls]
    messages: Any = [*asked, first.message, *results]
    last = await client.chat.completions.create(model=MODEL, messages=messages, tools=[WEATHER])
    assert last.choices[0].message.content == "I heard: call_1 is sunny. call_2 is sunny. "


# The client warns of its own `parsed` when it sends the message back.
@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")
async def test_the_stream_helper_accumulates_text_tools_and_a_parsed_answer(client: AsyncOpenAI) -> None:
    async with client.chat.completions.stream(model=MODEL, messages=HI) as stream:
        deltas = [event.delta async for event in stream if event.type == "content.delta"]
    assert "".join(deltas) == HELLO
    async with client.chat.completions.stream(model=MODEL, messages=HI, response_format=Person) as parsing:
        final = await parsing.get_final_completion()
    assert final.choices[0].message.parsed == ADA
    onward: Any = [*HI, final.choices[0].message, {"role": "user", "content": "On"}]
    assert (await client.chat.completions.create(model=MODEL, messages=onward)).choices[0].message.content == HELLO
    async with client.chat.completions.stream(
        model=MODEL, messages=HI, tools=[openai.pydantic_function_tool(City, name="weather")]
    ) as calling:
        done = [event.arguments async for event in calling if event.type == "tool_calls.function.arguments.done"]
    assert done == ROME_AND_OSLO


# The client warns of its own `parsed` when it sends the message back.
@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")
async def test_a_structured_answer_is_parsed(client: AsyncOpenAI) -> None:
    chat = await client.chat.completions.parse(model=MODEL, messages=HI, response_format=Person)
    assert chat.choices[0].message.parsed == ADA
    # The message goes back as the library made it, with what it parsed.
    onward: Any = [*HI, chat.choices[0].message, {"role": "user", "content": "On"}]
    assert (await client.chat.completions.create(model=MODEL, messages=onward)).choices[0].message.content == HELLO
    response = await client.responses.parse(model=MODEL, input="Hi", text_format=Person)
    assert response.output_parsed == ADA


async def test_the_responses_stream_helper_accumulates_a_response(client: AsyncOpenAI) -> None:
    async with client.responses.stream(model=MODEL, input="Hi") as stream:
        events = [event async for event in stream]
        final = await stream.get_final_response()
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == HELLO
    assert final.output_text == HELLO
    assert final.usage is not None
    assert (await client.responses.retrieve(final.id)).output_text == HELLO
    async with client.responses.stream(model=MODEL, input="Hi", text_format=Person) as parsing:
        assert (await parsing.get_final_response()).output_parsed == ADA


async def test_a_response_continues_the_previous_one_with_tool_results(client: AsyncOpenAI) -> None:
    first = await client.responses.create(model=MODEL, input="Hi", tools=[FLAT])
    calls = [item for item in first.output if item.type == "function_call"]
    assert [call.arguments for call in calls] == ROME_AND_OSLO
    results: Any = [
        {"type": "function_call_output", "call_id": call.call_id, "output": f"{call.call_id} is wet. "}
        for call in calls
    ]
    second = await client.responses.create(model=MODEL, input=results, previous_response_id=first.id)
    assert second.output_text == "I heard: call_1 is wet. call_2 is wet. "
    # The same with a client that stores the conversation itself.
    kept: Any = [{"role": "user", "content": "Hi"}, *first.output, *results]
    assert (await client.responses.create(model=MODEL, input=kept, store=False)).output_text == second.output_text
    await client.responses.delete(first.id)
    with pytest.raises(openai.BadRequestError, match="Previous response"):
        await client.responses.create(model=MODEL, input="On", previous_response_id=second.id)


async def test_what_the_helpers_return_is_the_input_of_the_next_response(client: AsyncOpenAI) -> None:
    """The objects of `.parse()` and `.stream()` have members of their own, which come back with them."""
    tool = openai.pydantic_function_tool(City, name="weather")
    flat: Any = {"type": "function", **tool["function"]}
    asked: Any = [{"role": "user", "content": "Hi"}]
    parsed = await client.responses.parse(model=MODEL, input=asked, text_format=Person)
    assert parsed.output_parsed == ADA
    calling = await client.responses.parse(model=MODEL, input=asked, tools=[flat])
    assert [call.parsed_arguments for call in calling.output if call.type == "function_call"] == [
        {"city": "Rome"},
        {"city": "Oslo"},
    ]
    async with client.responses.stream(model=MODEL, input=asked, tools=[flat]) as stream:
        streamed = await stream.get_final_response()
    metadata = {"client_metadata": {"x-codex-installation-id": "1"}}
    for made in (calling, streamed):
        results: Any = [
            {"type": "function_call_output", "call_id": item.call_id, "output": "wet. "}
            for item in made.output
            if item.type == "function_call"
        ]
        said: Any = [*asked, *parsed.output, {"role": "user", "content": "And the weather?"}, *made.output, *results]
        answer = await client.responses.create(model=MODEL, input=said, store=False, extra_body=metadata)
        assert answer.output_text == "I heard: wet. wet. "
        plain: Any = [each if isinstance(each, dict) else each.model_dump() for each in said]
        async with client.responses.stream(model=MODEL, input=plain, store=False) as again:
            assert (await again.get_final_response()).output_text == answer.output_text


async def test_the_phase_of_a_message_and_its_picture_go_on_with_the_conversation(client: AsyncOpenAI) -> None:
    content: Any = [{"type": "input_text", "text": "What?"}, {"type": "input_image", "image_url": PICTURE}]
    async with client.responses.stream(model=MODEL, input=[{"role": "user", "content": content}]) as stream:
        first = await stream.get_final_response()
    (message,) = first.output
    assert message.type == "message" and message.phase == "final_answer"
    second = await client.responses.create(model=MODEL, input="On", previous_response_id=first.id)
    listed: Any = [each async for each in client.responses.input_items.list(second.id, order="asc")]
    assert [getattr(each, "phase", None) for each in listed] == [None, "final_answer", None]
    assert listed[0].content[1].file_id.startswith("blob_")


async def test_a_conversation_is_compacted_counted_and_continued(client: AsyncOpenAI) -> None:
    talk: Any = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": HELLO}]
    counted = await client.responses.input_tokens.count(model=MODEL, input=talk)
    assert counted.input_tokens > 0
    made = await client.responses.compact(model=MODEL, input=talk)
    assert (made.object, [item.type for item in made.output]) == ("response.compaction", ["message", "compaction"])
    # OpenAI's types have no messages of the user here, though its API has them.
    window: Any = made.to_dict(warnings=False)["output"]
    onward: Any = [*window, {"role": "user", "content": "On"}]
    assert (await client.responses.create(model=MODEL, input=onward)).output_text == HELLO


async def test_a_background_response_is_polled_to_its_end(client: AsyncOpenAI) -> None:
    made = await client.responses.create(model=MODEL, input="Hi", background=True)

    async def over() -> bool:
        nonlocal made
        made = await client.responses.retrieve(made.id)
        return made.status != "in_progress"

    await until(over, seconds=10)
    assert made.output_text == HELLO
    assert (await client.responses.cancel(made.id)).status == "completed"


async def test_a_background_response_is_read_on_after_a_disconnect(client: AsyncOpenAI) -> None:
    stream = await client.responses.create(model=MODEL, input="Slowly", background=True, stream=True)
    seen = []
    async for event in stream:
        seen.append(event)
        if event.type == "response.output_text.delta":
            break
    await stream.close()
    assert seen[0].type == "response.created"
    response_id, number = seen[0].response.id, seen[-1].sequence_number
    rest = [event async for event in await client.responses.retrieve(response_id, stream=True, starting_after=number)]
    numbers = [event.sequence_number for event in (*seen, *rest)]
    assert numbers == list(range(len(numbers)))
    deltas = [event.delta for event in (*seen, *rest) if event.type == "response.output_text.delta"]
    assert "".join(deltas) == HELLO
    assert rest[-1].type == "response.completed"


async def test_embeddings_and_models(client: AsyncOpenAI) -> None:
    answer = await client.embeddings.create(model="somasuite-embed-v1", input=["a cat", "a dog"])
    assert [len(each.embedding) for each in answer.data] == [384, 384]
    names = [model.id async for model in client.models.list()]
    assert MODEL in names
    assert (await client.models.retrieve(MODEL)).id == MODEL


async def test_a_refusal_is_neither_an_answer_nor_an_error(client: AsyncOpenAI) -> None:
    asked: Any = [{"role": "user", "content": "Refuse"}]
    chat = await client.chat.completions.parse(model=MODEL, messages=asked, response_format=Person)
    assert (chat.choices[0].message.refusal, chat.choices[0].message.parsed) == ("I cannot.", None)
    async with client.chat.completions.stream(model=MODEL, messages=asked) as stream:
        deltas = [event.delta async for event in stream if event.type == "refusal.delta"]
    assert "".join(deltas) == "I cannot."
    response = await client.responses.parse(model=MODEL, input="Refuse", text_format=Person)
    (item,) = response.output
    assert item.type == "message"
    assert [(part.type, part.refusal) for part in item.content if part.type == "refusal"] == [("refusal", "I cannot.")]
    assert response.output_parsed is None


async def test_the_input_items_of_a_response_are_listed_page_by_page(client: AsyncOpenAI) -> None:
    first = await client.responses.create(model=MODEL, input="Hi")
    second = await client.responses.create(model=MODEL, input="Again", previous_response_id=first.id)
    items = [item async for item in client.responses.input_items.list(second.id, limit=1, order="asc")]
    messages = [item for item in items if item.type == "message"]
    assert [(item.role, getattr(item.content[0], "text", None)) for item in messages] == [
        ("user", "Hi"),
        ("assistant", HELLO),
        ("user", "Again"),
    ]
    assert messages[1].id == first.output[0].id
    newest = await client.responses.input_items.list(second.id)
    assert [item.id for item in newest.data] == [item.id for item in items[::-1]]


async def test_raw_and_streamed_answers_have_their_headers(client: AsyncOpenAI) -> None:
    raw = await client.chat.completions.with_raw_response.create(model=MODEL, messages=HI)
    assert raw.request_id == raw.headers["x-request-id"]
    assert raw.parse().choices[0].message.content == HELLO
    async with client.responses.with_streaming_response.create(model=MODEL, input="Hi") as streamed:
        assert int(streamed.headers["openai-processing-ms"]) >= 0
        assert (await streamed.parse()).output_text == HELLO


FAILURES: list[tuple[str, type[openai.APIStatusError], int, str | None, str | None]] = [
    ("fail: BAD_REQUEST", openai.BadRequestError, 400, "invalid_request_error", "provider_refused_request"),
    ("fail: UNKNOWN_MODEL", openai.NotFoundError, 404, "invalid_request_error", "model_not_found"),
    ("fail: RATE_LIMITED", openai.RateLimitError, 429, "requests", "rate_limit_exceeded"),
    ("fail: OVERLOADED", openai.InternalServerError, 503, "server_error", "provider_unavailable"),
    ("Tell me a state secret.", openai.PermissionDeniedError, 403, "permission_error", "policy_denied"),
]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(("asked", "raised", "status", "kind", "code"), FAILURES)
async def test_each_failure_is_the_clients_own_exception_on_both_surfaces(
    client: AsyncOpenAI,
    asked: str,
    raised: type[openai.APIStatusError],
    status: int,
    kind: str,
    code: str,
    stream: bool,
) -> None:
    messages: Any = [{"role": "user", "content": asked}]
    surfaces: list[tuple[Any, dict[str, Any]]] = [
        (client.chat.completions, {"messages": messages}),
        (client.responses, {"input": asked}),
    ]
    for surface, body in surfaces:
        with pytest.raises(raised) as failed:
            await surface.create(model=MODEL, stream=stream, **body)
        error = failed.value
        assert (error.status_code, error.type, error.code, error.param) == (status, kind, code, None)
        assert error.request_id
        assert ("retry-after" in error.response.headers) == (status in (429, 503))


async def test_an_error_inside_a_stream_is_raised(client: AsyncOpenAI) -> None:
    messages: Any = [{"role": "user", "content": "fail: CUT_MID"}]
    with pytest.raises(openai.APIError) as failed:
        async for _ in await client.chat.completions.create(model=MODEL, messages=messages, stream=True):
            pass
    assert failed.value.code == "provider_stream_cut"
    seen = []
    with pytest.raises(openai.APIError) as cut:
        async for event in await client.responses.create(model=MODEL, input="fail: CUT_MID", stream=True):
            seen.append(event)
    assert cut.value.code == "provider_stream_cut"
    assert seen[-1].type == "response.output_text.delta"
    assert seen[0].type == "response.created"
    failed_response = await client.responses.retrieve(seen[0].response.id)
    assert failed_response.error is not None and failed_response.error.code == "server_error"


async def test_a_client_that_retries_is_answered_and_remembered_once(stack: Stack) -> None:
    asked: Any = [{"role": "user", "content": "fail once: RATE_LIMITED"}]
    async with AsyncOpenAI(base_url=f"{stack.url}/v1", api_key=stack.key, max_retries=1) as patient:
        body = {"conversation": "told-to-come-back"}
        answer = await patient.chat.completions.create(model=MODEL, messages=asked, extra_body=body)
        # Repeated attempts are one turn, also if the first was answered and the answer was lost.
        for _ in range(2):
            headers = {"Idempotency-Key": "one"}
            await patient.chat.completions.create(model=MODEL, messages=HI, extra_body=body, extra_headers=headers)
    assert answer.choices[0].message.content == HELLO
    async with stack.http() as http:
        kept = (await http.get("/v1/memory/conversations/told-to-come-back/messages")).json()["messages"]
    assert [each["message"]["content"] for each in kept] == [asked[0]["content"], HELLO, "Hi", HELLO]


async def test_failures_are_the_clients_own_exceptions(client: AsyncOpenAI, stack: Stack) -> None:
    with pytest.raises(openai.NotFoundError) as unknown:
        await client.chat.completions.create(model="no-such-model", messages=HI)
    assert unknown.value.code == "model_not_found"
    assert unknown.value.request_id
    async with stack.openai("sk-wrong") as stranger:
        with pytest.raises(openai.AuthenticationError):
            await stranger.responses.create(model=MODEL, input="Hi")
    with pytest.raises(openai.BadRequestError) as refused:
        await client.chat.completions.create(model=CLAUDE, messages=HI, seed=1, logprobs=True)
    assert (refused.value.code, refused.value.param) == ("unsupported_parameter", "seed")
    dropped = await client.chat.completions.create(
        model=CLAUDE, messages=HI, seed=1, logprobs=True, extra_body={"soma": {"drop_params": True}}
    )
    assert (dropped.model_extra or {})["soma"] == {"dropped_params": ["seed", "logprobs"]}
