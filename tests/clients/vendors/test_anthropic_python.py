"""Anthropic's Python client: pictures, tools with thoughts, tokens, and what Claude Code sends, with each vendor."""

import base64
from collections.abc import AsyncIterator, Mapping
from typing import Any

import anthropic
import pytest
from anthropic import AsyncAnthropic

from tests.clients.vendors.conftest import VENDORS
from tests.clients.vendors.script import PICTURE, SCRIPT, SHOWING, TURNS, weather
from tests.clients.vendors.server import Report, VendorServer
from tests.e2e.stack import CALL_SECONDS, Stack

# The client warns of models that Anthropic will not serve much longer.
pytestmark = pytest.mark.filterwarnings("ignore:The model '.*' is deprecated:DeprecationWarning")
LOOK: Any = {
    "name": "look",
    "description": "Looks at a place.",
    "input_schema": {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]},
}
SHOWN: Any = {
    "type": "image",
    "source": {"type": "base64", "media_type": "image/png", "data": base64.b64encode(PICTURE).decode()},
}
MARK = {"type": "ephemeral"}


@pytest.fixture
async def client(stack: Stack) -> AsyncIterator[AsyncAnthropic]:
    """The client, without repetitions, so that a test sees each answer."""
    async with AsyncAnthropic(base_url=stack.url, api_key=stack.key, max_retries=0, timeout=CALL_SECONDS) as made:
        yield made


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("name", ["openai_compatible", "anthropic", "openrouter"])
async def test_a_picture_reaches_the_model(
    client: AsyncAnthropic, vendors: Mapping[str, VendorServer], name: str, streamed: bool
) -> None:
    content: Any = [{"type": "text", "text": SHOWING}, SHOWN]
    message = await _say(client, streamed, vendors[name].dialect.model, [{"role": "user", "content": content}])
    assert message.content[-1].text == "A pixel."


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("name", VENDORS)
async def test_a_conversation_calls_tools_and_sends_messages_back_as_they_came(
    client: AsyncAnthropic, vendors: Mapping[str, VendorServer], name: str, streamed: bool
) -> None:
    vendor = vendors[name]
    vendor.report()
    messages: list[Any] = []
    for question in TURNS:
        messages.append({"role": "user", "content": question})
        while (message := await _say(client, streamed, vendor.dialect.model, messages)).stop_reason == "tool_use":
            calls = [block for block in message.content if block.type == "tool_use"]
            results = [
                {"type": "tool_result", "tool_use_id": call.id, "content": weather(call.input["place"])}
                for call in calls
            ]
            messages += [{"role": "assistant", "content": message.content}, {"role": "user", "content": results}]
        messages.append({"role": "assistant", "content": message.content})
        assert message.stop_reason == "end_turn"
        assert message.content[-1].text == SCRIPT[question][-1].text
        assert message.content[0].type == ("thinking" if SCRIPT[question][-1].thought else "text")
    assert vendor.report() == Report({"all"}, {streamed})


@pytest.mark.parametrize("name", VENDORS)
async def test_an_altered_thought_is_refused(
    client: AsyncAnthropic, vendors: Mapping[str, VendorServer], name: str
) -> None:
    model = vendors[name].dialect.model
    question: Any = {"role": "user", "content": "No tool"}
    message = await _say(client, False, model, [question])
    thought, *rest = [block.to_dict() for block in message.content]
    thought["thinking"] = "Something else."
    history: Any = [question, {"role": "assistant", "content": [thought, *rest]}, question]
    with pytest.raises(anthropic.BadRequestError) as refused:
        await _say(client, False, model, history)
    assert "Invalid `signature` in `thinking` block" in refused.value.message
    vendors[name].report()


@pytest.mark.parametrize("name", ["openai_compatible", "anthropic"])
async def test_tokens_are_counted_by_the_vendor_or_estimated(
    client: AsyncAnthropic, vendors: Mapping[str, VendorServer], name: str
) -> None:
    counted = await client.messages.count_tokens(
        model=vendors[name].dialect.model,
        messages=[{"role": "user", "content": "Turn one"}],
        tools=[LOOK],
        thinking={"type": "enabled", "budget_tokens": 1024},
    )
    assert counted.input_tokens > 0
    assert (counted.input_tokens == 2 and not counted.model_extra) is (name == "anthropic")


# Claude Code names dozens of tools, whose descriptions and schemas are long.
TOOLS: list[Any] = [
    {
        "name": f"tool_{number}",
        "description": f"Tool {number}. " + "It does what it says, and here is how. " * 300,
        "input_schema": {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "properties": {f"p{each}": {"type": "string", "description": "A value. " * 20} for each in range(20)},
            "required": ["p0"],
            "additionalProperties": False,
        },
    }
    for number in range(64)
]
BETAS = ["claude-code-20250219", "interleaved-thinking-2025-05-14", "fine-grained-tool-streaming-2025-05-14"]
BETAS += ["context-1m-2025-08-07", "context-management-2025-06-27"]


@pytest.mark.parametrize("thinking", [{"type": "enabled", "budget_tokens": 31_999}, {"type": "adaptive"}])
@pytest.mark.parametrize("name", VENDORS)
async def test_the_requests_of_claude_code_are_answered_by_every_vendor(
    client: AsyncAnthropic, vendors: Mapping[str, VendorServer], name: str, thinking: dict[str, Any]
) -> None:
    vendor = vendors[name]
    vendor.report()
    system: Any = [
        {"type": "text", "text": "You are Claude Code, Anthropic's official CLI for Claude.", "cache_control": MARK},
        {"type": "text", "text": "Be brief. " * 2000, "cache_control": {"type": "ephemeral", "ttl": "1h"}},
    ]
    tools: Any = [LOOK, *TOOLS[:-1], {**TOOLS[-1], "cache_control": MARK, "eager_input_streaming": True}]
    more: dict[str, Any] = {
        "model": vendor.dialect.model,
        "max_tokens": 32_000,
        "system": system,
        "tools": tools,
        "metadata": {"user_id": f"user_{'a' * 64}_account_{'b' * 36}_session_{'c' * 36}"},
        "thinking": thinking,
        "betas": BETAS,
        "extra_body": {
            "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
            "output_config": {"effort": "high"},
            "temperature": 1,
        },
    }
    if name == "anthropic" and thinking["type"] == "adaptive":
        # This model of Anthropic's knows no effort.
        del more["extra_body"]["output_config"]
    messages: list[Any] = [{"role": "user", "content": [{"type": "text", "text": "Turn two", "cache_control": MARK}]}]
    counting = {key: value for key, value in more.items() if key not in ("max_tokens", "metadata")}
    counting["extra_body"] = {}
    assert (await client.beta.messages.count_tokens(messages=messages, **counting)).input_tokens > 0
    async with client.beta.messages.stream(messages=messages, **more) as stream:
        first: Any = await stream.get_final_message()
    assert first.stop_reason == "tool_use"
    calls = [block for block in first.content if block.type == "tool_use"]
    assert [call.input["place"] for call in calls] == list(SCRIPT["Turn two"][0].places)
    results: list[Any] = []
    for call in calls:
        told = [{"type": "text", "text": weather(call.input["place"])}]
        results.append({"type": "tool_result", "tool_use_id": call.id, "content": told})
    results[-1]["cache_control"] = MARK
    messages += [{"role": "assistant", "content": first.content}, {"role": "user", "content": results}]
    async with client.beta.messages.stream(messages=messages, **more) as stream:
        last: Any = await stream.get_final_message()
    assert last.content[-1].text == SCRIPT["Turn two"][-1].text
    report = vendor.report()
    assert report.refused == []
    if name == "anthropic":
        assert vendor.headers["anthropic-beta"].split(",") == BETAS
    else:
        assert "anthropic-beta" not in vendor.headers


async def test_errors_are_the_clients_own(stack: Stack, client: AsyncAnthropic) -> None:
    hi: Any = [{"role": "user", "content": "No tool"}]
    with pytest.raises(anthropic.NotFoundError) as missing:
        await client.messages.create(model="nothing", max_tokens=9, messages=hi)
    assert missing.value.type == "not_found_error"
    assert missing.value.request_id
    with pytest.raises(anthropic.BadRequestError) as wrong:
        await client.messages.create(model="house-model", max_tokens=0, messages=hi)
    assert "max_tokens" in wrong.value.message
    with pytest.raises(anthropic.AuthenticationError):
        await client.with_options(api_key="wrong").messages.create(model="house-model", max_tokens=9, messages=hi)
    bearer = AsyncAnthropic(base_url=stack.url, auth_token=stack.key, api_key=None, max_retries=0)
    async with bearer:
        said = await bearer.messages.create(model="house-model", max_tokens=9, messages=hi)
    assert said.content[-1].type == "text"


async def _say(client: AsyncAnthropic, streamed: bool, model: str, messages: list[Any]) -> Any:
    """The message of the answer."""
    wanted: Any = {
        "model": model,
        "messages": messages,
        "tools": [LOOK],
        "max_tokens": 4096,
        "thinking": {"type": "enabled", "budget_tokens": 1024},
    }
    if not streamed:
        return await client.messages.create(**wanted)
    async with client.messages.stream(**wanted) as stream:
        return await stream.get_final_message()
