"""LangChain and pydantic-ai: pictures, tools with thoughts, and streams, with models of three vendors."""

import base64
import functools
import operator
from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx2
import pytest
from openai import AsyncOpenAI
from pydantic import SecretStr

from tests.clients.vendors.program import SEEING
from tests.clients.vendors.script import PICTURE, SCRIPT, SHOWING, TURNS, weather
from tests.clients.vendors.server import Report, VendorServer
from tests.e2e.stack import Stack

langchain = pytest.importorskip("langchain_openai", reason="missing: langchain-openai (uv sync --group clients)")
langchain_messages = pytest.importorskip("langchain_core.messages", reason="missing: langchain-core")
pydantic_ai = pytest.importorskip("pydantic_ai", reason="missing: pydantic-ai-slim (uv sync --group clients)")
models = pytest.importorskip("pydantic_ai.models.openai", reason="missing: pydantic-ai-slim[openai]")
providers = pytest.importorskip("pydantic_ai.providers.openai", reason="missing: pydantic-ai-slim[openai]")


@pytest.fixture
async def http() -> AsyncIterator[httpx2.AsyncClient]:
    """HTTP clients that are closed at the end of the test; the frameworks would never close their own."""
    async with httpx2.AsyncClient(timeout=30.0) as made:
        yield made


def look(place: str) -> str:
    """The weather of a place."""
    return weather(place)


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(
    ("responses", "name", "thoughts"),
    [
        # It does not read thoughts of a chat; DeepSeek then gets empty ones.
        (False, "openai_compatible", "none"),
        (False, "deepseek", "some"),
        (False, "anthropic", "none"),
        (True, "openai_compatible", "all"),
        (True, "deepseek", "all"),
        (True, "anthropic", "all"),
    ],
)
async def test_langchain_shows_a_picture_and_calls_tools(
    stack: Stack,
    vendors: Mapping[str, VendorServer],
    http: httpx2.AsyncClient,
    responses: bool,
    name: str,
    thoughts: str,
    streamed: bool,
) -> None:
    vendor = vendors[name]
    vendor.report()
    own: Any = {"store": False, "include": ["reasoning.encrypted_content"]} if responses else {}
    model = langchain.ChatOpenAI(
        model=vendor.dialect.model,
        base_url=f"{stack.url}/v1",
        api_key=SecretStr(stack.key),
        max_retries=0,
        use_responses_api=responses,
        http_async_client=http,
        **({"reasoning": {"effort": "high"}} if responses else {"reasoning_effort": "high"}),
        **own,
    )

    async def say(bound: Any, messages: list[Any]) -> Any:
        if not streamed:
            return await bound.ainvoke(messages)
        return functools.reduce(operator.add, [chunk async for chunk in bound.astream(messages)])

    if name in SEEING:
        data = base64.b64encode(PICTURE).decode()
        picture = {"type": "image", "base64": data, "mime_type": "image/png"}
        shown = langchain_messages.HumanMessage([{"type": "text", "text": SHOWING}, picture])
        assert (await say(model, [shown])).text == "A pixel."
    messages: list[Any] = []
    for question in TURNS:
        messages.append(langchain_messages.HumanMessage(question))
        while (answer := await say(model.bind_tools([look]), messages)).tool_calls:
            messages.append(answer)
            messages += [
                langchain_messages.ToolMessage(look(**call["args"]), tool_call_id=call["id"])
                for call in answer.tool_calls
            ]
        messages.append(answer)
        assert answer.text == SCRIPT[question][-1].text
    assert vendor.report() == Report({thoughts}, {streamed})


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(
    ("kind", "name", "thoughts"),
    [
        ("OpenAIChatModel", "openai_compatible", "all"),
        ("OpenAIChatModel", "deepseek", "all"),
        ("OpenAIChatModel", "anthropic", "none"),
        ("OpenAIResponsesModel", "openai_compatible", "all"),
        ("OpenAIResponsesModel", "deepseek", "all"),
        ("OpenAIResponsesModel", "anthropic", "all"),
    ],
)
async def test_pydantic_ai_shows_a_picture_and_calls_tools(
    stack: Stack,
    vendors: Mapping[str, VendorServer],
    http: httpx2.AsyncClient,
    kind: str,
    name: str,
    thoughts: str,
    streamed: bool,
) -> None:
    vendor = vendors[name]
    vendor.report()
    client = AsyncOpenAI(base_url=f"{stack.url}/v1", api_key=stack.key, http_client=http)
    # Without this profile it sends thoughts of models whose names it does not know back as text.
    profile = {"openai_supports_encrypted_reasoning_content": True} if kind == "OpenAIResponsesModel" else None
    provider = providers.OpenAIProvider(openai_client=client)
    model = getattr(models, kind)(vendor.dialect.model, provider=provider, profile=profile)
    agent = pydantic_ai.Agent(model, tools=[look], model_settings={"openai_reasoning_effort": "high"})

    async def read(_: object, events: AsyncIterator[object]) -> None:
        async for _event in events:
            pass

    async def run(prompt: Any, history: Any) -> tuple[str, Any]:
        # With a reader of its events, the answers are streamed.
        reader = read if streamed else None
        ran = await agent.run(prompt, message_history=history, event_stream_handler=reader)
        return ran.output, ran.all_messages()

    if name in SEEING:
        picture = pydantic_ai.BinaryContent(PICTURE, media_type="image/png")
        assert (await run([SHOWING, picture], None))[0] == "A pixel."
    history: Any = None
    for question in TURNS:
        output, history = await run(question, history)
        assert output == SCRIPT[question][-1].text
    assert vendor.report() == Report({thoughts}, {streamed})
