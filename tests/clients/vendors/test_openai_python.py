"""OpenAI's Python client: pictures, tools with thoughts, and streams, with models of three vendors."""

import base64
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
from openai import AsyncOpenAI

from tests.clients.vendors.conftest import VENDORS
from tests.clients.vendors.script import PICTURE, SCRIPT, SHOWING, TURNS, weather
from tests.clients.vendors.server import Report, VendorServer
from tests.clients.vendors.test_tool_loops import LOOK
from tests.e2e.stack import Stack

URL = f"data:image/png;base64,{base64.b64encode(PICTURE).decode()}"
FLAT: Any = {"type": "function", **LOOK["function"]}


@pytest.fixture
async def client(stack: Stack) -> AsyncIterator[AsyncOpenAI]:
    """The client."""
    async with stack.openai() as made:
        yield made


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("name", ["openai_compatible", "anthropic", "openrouter"])
async def test_a_picture_reaches_the_model(
    client: AsyncOpenAI, vendors: Mapping[str, VendorServer], name: str, streamed: bool
) -> None:
    model = vendors[name].dialect.model
    parts: Any = [{"type": "text", "text": SHOWING}, {"type": "image_url", "image_url": {"url": URL}}]
    assert (await _chat(client, model, [{"role": "user", "content": parts}], streamed)).content == "A pixel."
    items: Any = [{"type": "input_text", "text": SHOWING}, {"type": "input_image", "image_url": URL, "detail": "auto"}]
    answer = await _respond(client, streamed, model=model, input=[{"role": "user", "content": items}], store=False)
    assert answer.output_text == "A pixel."


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("name", VENDORS)
async def test_a_chat_calls_tools_and_sends_messages_back_as_they_came(
    client: AsyncOpenAI, vendors: Mapping[str, VendorServer], name: str, streamed: bool
) -> None:
    vendor = vendors[name]
    vendor.report()
    messages: list[Any] = []
    for question in TURNS:
        messages.append({"role": "user", "content": question})
        while (answer := await _chat(client, vendor.dialect.model, messages, streamed)).tool_calls:
            messages.append(answer)
            for call in answer.tool_calls:
                content = weather(json.loads(call.function.arguments)["place"])
                messages.append({"role": "tool", "tool_call_id": call.id, "content": content})
        messages.append(answer)
        assert answer.content == SCRIPT[question][-1].text
    assert vendor.report() == Report({"all"}, {streamed})


@pytest.mark.parametrize("way", ["encrypted items", "items of stored responses", "previous_response_id"])
@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("name", VENDORS)
async def test_responses_call_tools_and_go_on_with_items_or_by_id(
    client: AsyncOpenAI, vendors: Mapping[str, VendorServer], name: str, streamed: bool, way: str
) -> None:
    vendor = vendors[name]
    vendor.report()
    history: list[Any] = []
    more: dict[str, Any] = {"model": vendor.dialect.model, "tools": [FLAT], "reasoning": {"effort": "high"}}
    kept = way == "previous_response_id"
    if way == "encrypted items":
        more |= {"store": False, "include": ["reasoning.encrypted_content"]}
    for question in TURNS:
        new: list[Any] = [{"role": "user", "content": question}]
        calls: list[Any] = [None]
        while calls:
            answer = await _respond(client, streamed, input=new if kept else [*history, *new], **more)
            if kept:
                more["previous_response_id"] = answer.id
            else:
                history += [*new, *answer.output]
            calls = [item for item in answer.output if item.type == "function_call"]
            new = [
                {
                    "type": "function_call_output",
                    "call_id": call.call_id,
                    "output": weather(json.loads(call.arguments)["place"]),
                }
                for call in calls
            ]
        assert answer.output_text == SCRIPT[question][-1].text
    assert vendor.report() == Report({"all"}, {streamed})


async def _chat(client: AsyncOpenAI, model: str, messages: list[Any], streamed: bool) -> Any:
    """The message of the answer."""
    wanted: Any = {"model": model, "messages": messages, "tools": [LOOK], "reasoning_effort": "high"}
    if not streamed:
        return (await client.chat.completions.create(**wanted)).choices[0].message
    async with client.chat.completions.stream(**wanted) as stream:
        return (await stream.get_final_completion()).choices[0].message


async def _respond(client: AsyncOpenAI, streamed: bool, **wanted: Any) -> Any:
    """The response."""
    if not streamed:
        return await client.responses.create(**wanted)
    async with client.responses.stream(**wanted) as stream:
        return await stream.get_final_response()
