"""The Python client: pictures, and tools with thoughts that go back to their vendors, whole and streamed."""

import json
from collections.abc import AsyncIterator, Mapping

import pytest
from somamesh import AsyncClient, Image, Message, Tool

from tests.clients.vendors.conftest import VENDORS
from tests.clients.vendors.script import PICTURE, SCRIPT, SHOWING, TURNS, weather
from tests.clients.vendors.server import Report, VendorServer
from tests.e2e.stack import Stack

PLACE = {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]}


@pytest.fixture
async def soma(stack: Stack) -> AsyncIterator[AsyncClient]:
    """The client."""
    async with AsyncClient(stack.url, stack.key) as made:
        yield made


@pytest.mark.parametrize("name", ["openai_compatible", "anthropic", "openrouter"])
async def test_a_picture_is_a_part_of_a_message(
    soma: AsyncClient, vendors: Mapping[str, VendorServer], name: str
) -> None:
    question = Message("user", SHOWING, parts=[Image(PICTURE)])
    assert (await soma.chat([question], model=vendors[name].dialect.model)).text == "A pixel."


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("name", VENDORS)
async def test_thoughts_go_back_to_the_vendor_with_the_results_of_tools(
    soma: AsyncClient, vendors: Mapping[str, VendorServer], name: str, streamed: bool
) -> None:
    vendor = vendors[name]
    vendor.report()
    messages: list[Message] = []
    tools = [Tool("look", parameters=PLACE)]
    for question in TURNS:
        messages.append(Message("user", question))
        for said in SCRIPT[question]:
            model = vendor.dialect.model
            if streamed:
                async with soma.stream_chat(messages, model=model, tools=tools, reasoning_effort="high") as stream:
                    assert "".join([piece async for piece in stream]) == said.text
                    answer = await stream.answer()
            else:
                answer = await soma.chat(messages, model=model, tools=tools, reasoning_effort="high")
            assert "".join(thought.text for thought in answer.reasoning) == said.thought
            messages.append(answer.message)
            messages += [
                Message("tool", weather(json.loads(call.arguments)["place"]), tool_call_id=call.id)
                for call in answer.tool_calls
            ]
        assert messages[-1].text == SCRIPT[question][-1].text
    assert vendor.report() == Report({"all"}, {streamed})


async def test_parameters_of_a_vendor_reach_it_as_they_are(
    soma: AsyncClient, vendors: Mapping[str, VendorServer]
) -> None:
    vendor = vendors["openai_compatible"]
    answer = await soma.chat(
        "No tool", model=vendor.dialect.model, provider_params={"min_p": 0.1, "chat_template_kwargs": {"a": 1}}
    )
    assert answer.text == "Four.\n"
    assert (vendor.bodies[-1]["min_p"], vendor.bodies[-1]["chat_template_kwargs"]) == (0.1, {"a": 1})
