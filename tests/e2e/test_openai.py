"""OpenAI's own Python client against the public port; only its base URL and key are changed."""

import asyncio
from typing import Any

import openai as vendor
import pytest
from openai import AsyncOpenAI, OpenAI
from openai.types.chat import ChatCompletionToolParam

from services.model.testing.dialects import Behaviour, Fault
from services.model.testing.upstreams import FakeUpstream
from tests.e2e.scripted import ABSENT, CLAUDE, MODEL
from tests.e2e.stack import CALL_SECONDS, Stack

WEATHER: ChatCompletionToolParam = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
}


def said(text: str) -> list[Any]:
    """A message of the user."""
    return [{"role": "user", "content": text}]


async def test_an_answer_that_is_not_streamed_has_its_usage(openai: AsyncOpenAI, upstream: FakeUpstream) -> None:
    answer = await openai.chat.completions.create(model=MODEL, messages=said("hello"))
    assert answer.object == "chat.completion"
    assert answer.choices[0].message.content == "Hello there!"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == (11, 3, 14)
    assert upstream.requests[-1]["messages"] == said("hello")


async def test_a_streamed_answer_ends_with_its_reason_and_its_usage(
    openai: AsyncOpenAI, upstream: FakeUpstream
) -> None:
    upstream.behaviour = Behaviour(deltas=("one ", "two ", "three"), pause=0.03)
    stream = await openai.chat.completions.create(
        model=MODEL, messages=said("count"), stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    texts = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices and chunk.choices[0].delta.content]
    assert texts == ["one ", "two ", "three"]
    assert {chunk.id for chunk in chunks} == {chunks[0].id}
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].usage is not None and chunks[-1].usage.total_tokens == 14


async def test_the_first_piece_does_not_wait_for_the_last(openai: AsyncOpenAI, upstream: FakeUpstream) -> None:
    upstream.behaviour = Behaviour(deltas=[f"{n} " for n in range(20)], pause=0.5)
    began = asyncio.get_running_loop().time()
    stream = await openai.chat.completions.create(model=MODEL, messages=said("count"), stream=True)
    async for chunk in stream:
        if chunk.choices[0].delta.content:
            break
    seconds = asyncio.get_running_loop().time() - began
    await stream.close()
    assert seconds < 5.0


async def test_a_blocking_client_gets_the_same_answer(stack: Stack, upstream: FakeUpstream) -> None:
    def talk() -> tuple[str | None, str]:
        with OpenAI(base_url=f"{stack.url}/v1", api_key=stack.key, max_retries=0, timeout=CALL_SECONDS) as client:
            whole = client.chat.completions.create(model=MODEL, messages=said("hello"))
            stream = client.chat.completions.create(model=MODEL, messages=said("hello"), stream=True)
            return whole.choices[0].message.content, "".join(c.choices[0].delta.content or "" for c in stream)

    assert await asyncio.to_thread(talk) == ("Hello there!", "Hello there!")


async def test_a_tool_call_reaches_the_client_and_its_result_the_model(
    openai: AsyncOpenAI, upstream: FakeUpstream
) -> None:
    upstream.behaviour = Behaviour(deltas=(), tool_calls=[("call_7", "weather", ['{"city":', ' "Oslo"}'])])
    asked = await openai.chat.completions.create(model=MODEL, messages=said("weather in Oslo?"), tools=[WEATHER])
    choice = asked.choices[0]
    assert choice.finish_reason == "tool_calls"
    assert choice.message.tool_calls is not None
    (call,) = choice.message.tool_calls
    assert call.type == "function"
    assert (call.id, call.function.name, call.function.arguments) == ("call_7", "weather", '{"city": "Oslo"}')

    upstream.behaviour = Behaviour(deltas=("Four degrees.",))
    history = [
        *said("weather in Oslo?"),
        choice.message.model_dump(exclude_none=True),
        {"role": "tool", "tool_call_id": "call_7", "content": '{"celsius": 4}'},
    ]
    answered = await openai.chat.completions.create(model=MODEL, messages=history, tools=[WEATHER])
    assert answered.choices[0].message.content == "Four degrees."
    result = upstream.requests[-1]["messages"][-1]
    assert (result["role"], result["tool_call_id"], result["content"]) == ("tool", "call_7", '{"celsius": 4}')


async def test_a_tool_call_streams_in_pieces(openai: AsyncOpenAI, upstream: FakeUpstream) -> None:
    upstream.behaviour = Behaviour(deltas=(), tool_calls=[("call_7", "weather", ['{"city":', ' "Oslo"}'])], pause=0.02)
    stream = await openai.chat.completions.create(model=MODEL, messages=said("weather?"), tools=[WEATHER], stream=True)
    names, arguments, finish = [], "", None
    async for chunk in stream:
        for call in chunk.choices[0].delta.tool_calls or ():
            assert call.function is not None
            names += [call.function.name] if call.function.name else []
            arguments += call.function.arguments or ""
        finish = chunk.choices[0].finish_reason or finish
    assert (names, arguments, finish) == (["weather"], '{"city": "Oslo"}', "tool_calls")


async def test_a_model_of_another_vendor_answers_in_the_same_shapes(
    openai: AsyncOpenAI, anthropic: FakeUpstream
) -> None:
    answer = await openai.chat.completions.create(model=CLAUDE, messages=said("hello"))
    assert answer.choices[0].message.content == "Hello there!"
    assert answer.choices[0].finish_reason == "stop"
    assert anthropic.requests[-1]["model"] == CLAUDE


async def test_the_models_of_every_provider_are_listed_with_the_default_first(openai: AsyncOpenAI) -> None:
    names = [model.id async for model in openai.models.list()]
    assert names[0] == MODEL
    assert {MODEL, "fake-small", CLAUDE, ABSENT, "soma-extract-v1", "somasuite-markov-v1"} <= set(names)
    one = await openai.models.retrieve(CLAUDE)
    assert (one.id, one.owned_by) == (CLAUDE, "anthropic")


@pytest.mark.parametrize(
    ("fault", "error", "code"),
    [
        (Fault.RATE_LIMITED, vendor.RateLimitError, "rate_limit_exceeded"),
        (Fault.BAD_REQUEST, vendor.BadRequestError, "provider_refused_request"),
        (Fault.OVERLOADED, vendor.InternalServerError, "provider_unavailable"),
    ],
)
async def test_a_providers_refusal_raises_the_clients_own_error(
    openai: AsyncOpenAI,
    upstream: FakeUpstream,
    fault: Fault,
    error: type[vendor.APIStatusError],
    code: str,
) -> None:
    upstream.behaviour = Behaviour(fault=fault)
    with pytest.raises(error) as raised:
        await openai.chat.completions.create(model=MODEL, messages=said("hello"))
    assert raised.value.code == code
    assert "the fake was told to refuse" in raised.value.message


async def test_an_unknown_model_raises_not_found(openai: AsyncOpenAI) -> None:
    with pytest.raises(vendor.NotFoundError) as raised:
        await openai.chat.completions.create(model="no-such-model", messages=said("hello"))
    assert raised.value.code == "model_not_found"


async def test_a_request_without_messages_raises_bad_request(openai: AsyncOpenAI) -> None:
    with pytest.raises(vendor.BadRequestError) as raised:
        await openai.chat.completions.create(model=MODEL, messages=[])
    assert raised.value.param == "messages"


async def test_an_error_inside_a_stream_raises_the_clients_own_error(
    openai: AsyncOpenAI, upstream: FakeUpstream
) -> None:
    upstream.behaviour = Behaviour(fault=Fault.CUT_MID, pause=0.03)
    texts: list[str] = []
    stream = await openai.chat.completions.create(model=MODEL, messages=said("hello"), stream=True)
    with pytest.raises(vendor.APIError) as raised:
        async for chunk in stream:
            texts.append(chunk.choices[0].delta.content or "")
    assert "".join(texts) == "Hello"
    assert raised.value.code == "provider_stream_cut"


async def test_a_background_response_of_an_unknown_model_is_refused_at_once(openai: AsyncOpenAI) -> None:
    for model, reason in (("soma-extract-v2", "model_not_found"), ("somasuite-embed-v1", "cannot hold a conversation")):
        with pytest.raises(vendor.APIStatusError) as refused:
            await openai.responses.create(model=model, input="hello", background=True)
        assert refused.value.status_code == (404 if model == "soma-extract-v2" else 400)
        assert reason in refused.value.response.text
