"""Pictures, thoughts and other parameters go from OpenAI's client through the public port to the provider and back."""

import json
from collections.abc import Iterator
from typing import Any

import openai as vendor
import pytest
from openai import AsyncOpenAI

from services.model.testing.dialects import Behaviour
from services.model.testing.upstreams import FakeUpstream
from tests.e2e.scripted import MODEL

# A picture of one pixel.
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
PICTURE = f"data:image/png;base64,{PNG}"
TEXT = {"type": "text", "text": "What is this?"}
ASK: Any = [{"role": "user", "content": [TEXT, {"type": "image_url", "image_url": {"url": PICTURE}}]}]
HI: Any = [{"role": "user", "content": "Hi"}]


def urls_in(value: Any) -> Iterator[str]:
    """The addresses of pictures in a body."""
    if isinstance(value, dict):
        if value.get("type") == "image_url":
            yield value["image_url"]["url"]
        for each in value.values():
            yield from urls_in(each)
    elif isinstance(value, list):
        for each in value:
            yield from urls_in(each)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_picture_of_a_chat_reaches_the_provider_as_it_was_sent(
    openai: AsyncOpenAI, upstream: FakeUpstream, stream: bool
) -> None:
    answer: Any = await openai.chat.completions.create(model=MODEL, messages=ASK, stream=stream)
    if stream:
        assert "".join([chunk.choices[0].delta.content or "" async for chunk in answer]) == "Hello there!"
    assert list(urls_in(upstream.requests[-1])) == [PICTURE]


async def test_a_picture_of_a_remembered_conversation_is_sent_again(
    openai: AsyncOpenAI, upstream: FakeUpstream
) -> None:
    named = {"conversation": "pictures"}
    await openai.chat.completions.create(model=MODEL, messages=ASK, extra_body=named)
    await openai.chat.completions.create(model=MODEL, messages=HI, extra_body=named)
    assert list(urls_in(upstream.requests[-1])) == [PICTURE]


async def test_a_picture_of_a_response_is_kept_with_it(openai: AsyncOpenAI, upstream: FakeUpstream) -> None:
    picture: Any = {"type": "input_image", "image_url": PICTURE, "detail": "auto"}
    first = await openai.responses.create(model=MODEL, input=[{"role": "user", "content": [picture]}])
    await openai.responses.create(model=MODEL, input="And now?", previous_response_id=first.id)
    assert list(urls_in(upstream.requests[-1])) == [PICTURE]
    [item] = [each async for each in openai.responses.input_items.list(first.id)]
    listed: Any = item.to_dict()
    again: Any = {"role": "user", "content": listed["content"]}
    await openai.responses.create(model=MODEL, input=[again], store=False)
    assert list(urls_in(upstream.requests[-1])) == [PICTURE]


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("data:image/jpeg;base64," + PNG, "media_invalid"),
        ("data:image/png;base64,AAAA", "media_invalid"),
        ("http://127.0.0.1:1/a.png", "media_unreachable"),
    ],
)
async def test_a_picture_that_is_none_is_refused_before_the_provider_is_asked(
    openai: AsyncOpenAI, upstream: FakeUpstream, url: str, code: str
) -> None:
    asked: Any = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}]
    with pytest.raises(vendor.BadRequestError) as refused:
        await openai.chat.completions.create(model=MODEL, messages=asked)
    assert refused.value.code == code
    assert upstream.requests == []


def thinking() -> list[bytes]:
    """A stream of a model that thinks before it answers."""
    deltas: list[dict[str, Any]] = [
        {"role": "assistant", "reasoning_content": "Let me"},
        {"reasoning_content": " see."},
        {"content": "Hello"},
        {},
    ]
    chunks = [
        {
            "id": "c1",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": MODEL,
            "choices": [{"index": 0, "delta": delta, "finish_reason": None if delta else "stop"}],
        }
        for delta in deltas
    ]
    chunks[-1]["usage"] = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
    return [*(b"data: %s\n\n" % json.dumps(chunk).encode() for chunk in chunks), b"data: [DONE]\n\n"]


async def test_the_thoughts_of_a_model_reach_the_client_and_go_back_to_the_provider(
    openai: AsyncOpenAI, upstream: FakeUpstream
) -> None:
    upstream.behaviour = Behaviour(sent=thinking())
    stream = await openai.chat.completions.create(model=MODEL, messages=HI, stream=True)
    deltas = [chunk.choices[0].delta.to_dict() async for chunk in stream]
    assert "".join(str(delta.get("reasoning_content", "")) for delta in deltas) == "Let me see."
    whole = await openai.chat.completions.create(model=MODEL, messages=HI)
    message: Any = whole.choices[0].message.to_dict()
    assert (message["content"], message["reasoning_content"]) == ("Hello", "Let me see.")
    upstream.behaviour = Behaviour()
    await openai.chat.completions.create(model=MODEL, messages=[*HI, message, *HI])
    assert upstream.requests[-1]["messages"][1]["reasoning_content"] == "Let me see."


async def test_the_thoughts_of_a_response_are_items_and_go_on_with_it(
    openai: AsyncOpenAI, upstream: FakeUpstream
) -> None:
    upstream.behaviour = Behaviour(sent=thinking())
    async with openai.responses.stream(model=MODEL, input="Hi") as stream:
        deltas = [event.delta async for event in stream if event.type == "response.reasoning_summary_text.delta"]
        first = await stream.get_final_response()
    assert "".join(deltas) == "Let me see."
    assert [item.type for item in first.output] == ["reasoning", "message"]
    upstream.behaviour = Behaviour()
    await openai.responses.create(model=MODEL, input="Go on", previous_response_id=first.id)
    assert upstream.requests[-1]["messages"][1]["reasoning_content"] == "Let me see."


async def test_a_client_that_keeps_its_history_itself_sends_thoughts_back_in_their_items(
    openai: AsyncOpenAI, upstream: FakeUpstream
) -> None:
    upstream.behaviour = Behaviour(sent=thinking())
    first = await openai.responses.create(model=MODEL, input="Hi", store=False, include=["reasoning.encrypted_content"])
    upstream.behaviour = Behaviour()
    history: Any = [*HI, *(item.to_dict() for item in first.output), *HI]
    await openai.responses.create(model=MODEL, input=history, store=False)
    assert upstream.requests[-1]["messages"][1] == {
        "role": "assistant",
        "content": "Hello",
        "reasoning": "Let me see.",
        "reasoning_content": "Let me see.",
    }


async def test_a_parameter_of_the_provider_reaches_it_and_a_model_without_it_refuses_it_by_name(
    openai: AsyncOpenAI, upstream: FakeUpstream
) -> None:
    added: Any = {"min_p": 0.1, "chat_template_kwargs": {"enable_thinking": False}}
    await openai.chat.completions.create(model=MODEL, messages=HI, extra_body=added)
    assert added.items() <= upstream.requests[-1].items()
    with pytest.raises(vendor.BadRequestError) as refused:
        await openai.chat.completions.create(model="soma-extract-v1", messages=HI, extra_body=added)
    assert (refused.value.code, refused.value.param) == ("unsupported_parameter", "chat_template_kwargs")
    dropping: Any = added | {"soma": {"drop_params": True}}
    dropped = await openai.chat.completions.create(model="soma-extract-v1", messages=HI, extra_body=dropping)
    assert (dropped.model_extra or {})["soma"] == {"dropped_params": ["chat_template_kwargs", "min_p"]}
