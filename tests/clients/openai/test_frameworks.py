"""Unmodified LangChain (ChatOpenAI) and pydantic-ai."""

import functools
import operator
from collections.abc import AsyncIterator

import httpx2
import openai
import pytest
from openai import AsyncOpenAI
from pydantic import BaseModel, SecretStr

from tests.clients.openai.answering import TEXT
from tests.e2e.scripted import MODEL
from tests.e2e.stack import Stack

langchain = pytest.importorskip("langchain_openai", reason="missing: langchain-openai (uv sync --group clients)")
langchain_messages = pytest.importorskip("langchain_core.messages", reason="missing: langchain-core")
pydantic_ai = pytest.importorskip("pydantic_ai", reason="missing: pydantic-ai-slim (uv sync --group clients)")
models = pytest.importorskip("pydantic_ai.models.openai", reason="missing: pydantic-ai-slim[openai]")
providers = pytest.importorskip("pydantic_ai.providers.openai", reason="missing: pydantic-ai-slim[openai]")

HELLO = "".join(TEXT)


@pytest.fixture
async def http() -> AsyncIterator[httpx2.AsyncClient]:
    """HTTP clients that are closed at the end of the test; the frameworks would never close their own."""
    async with httpx2.AsyncClient(timeout=30.0) as made:
        yield made


class Person(BaseModel):
    """A person."""

    name: str
    age: int


ADA = Person(name="Ada", age=36)


def weather(city: str) -> str:
    """The weather of a city."""
    return f"{city} is sunny. "


@pytest.mark.parametrize("responses", [False, True], ids=["chat", "responses"])
async def test_langchain_chats_streams_calls_tools_and_reads_structured_answers(
    stack: Stack, http: httpx2.AsyncClient, responses: bool
) -> None:
    model = langchain.ChatOpenAI(
        model=MODEL,
        base_url=f"{stack.url}/v1",
        api_key=SecretStr(stack.key),
        max_retries=0,
        use_responses_api=responses,
        http_async_client=http,
    )
    whole = await model.ainvoke("Hi")
    assert whole.text == HELLO
    assert whole.usage_metadata["total_tokens"] == 14
    assert "".join([chunk.text async for chunk in model.astream("Hi")]) == HELLO
    calling = await model.bind_tools([weather]).ainvoke("How is the weather?")
    assert [(call["name"], call["args"]) for call in calling.tool_calls] == [
        ("weather", {"city": "Rome"}),
        ("weather", {"city": "Oslo"}),
    ]
    asked = [chunk async for chunk in model.bind_tools([weather]).astream("How is the weather?")]
    whole_call = functools.reduce(operator.add, asked)
    assert [call["args"] for call in whole_call.tool_calls] == [{"city": "Rome"}, {"city": "Oslo"}]
    results = [
        langchain_messages.ToolMessage(f"{call['id']} is wet. ", tool_call_id=call["id"]) for call in calling.tool_calls
    ]
    assert (await model.ainvoke(["How is the weather?", calling, *results])).text == (
        "I heard: call_1 is wet. call_2 is wet. "
    )
    assert await model.with_structured_output(Person).ainvoke("Who?") == ADA
    by_function = model.with_structured_output(Person, method="function_calling")
    assert await by_function.ainvoke("Be: Person") == ADA
    assert await model.with_structured_output(Person, method="json_mode").ainvoke("Who?") == ADA
    with pytest.raises(openai.RateLimitError):
        await model.ainvoke("fail: RATE_LIMITED")


async def test_langchain_continues_a_stored_response(stack: Stack, http: httpx2.AsyncClient) -> None:
    model = langchain.ChatOpenAI(
        model=MODEL,
        base_url=f"{stack.url}/v1",
        api_key=SecretStr(stack.key),
        max_retries=0,
        use_responses_api=True,
        use_previous_response_id=True,
        http_async_client=http,
    )
    first = await model.ainvoke("Hi")
    second = await model.ainvoke(["Hi", first, "And you?"])
    assert second.text == HELLO
    async with stack.openai() as client:
        assert (await client.responses.retrieve(second.id)).previous_response_id == first.id


async def test_langchain_embeds(stack: Stack, http: httpx2.AsyncClient) -> None:
    embeddings = langchain.OpenAIEmbeddings(
        model="somasuite-embed-v1",
        base_url=f"{stack.url}/v1",
        api_key=SecretStr(stack.key),
        # Otherwise it would send token ids of OpenAI's own models.
        check_embedding_ctx_length=False,
        http_async_client=http,
    )
    assert len(await embeddings.aembed_query("a cat")) == 384


@pytest.mark.parametrize("kind", ["OpenAIChatModel", "OpenAIResponsesModel"])
async def test_pydantic_ai_runs_an_agent_with_tools_streams_and_reads_structured_answers(
    stack: Stack, http: httpx2.AsyncClient, kind: str
) -> None:
    client = AsyncOpenAI(base_url=f"{stack.url}/v1", api_key=stack.key, http_client=http)
    model = getattr(models, kind)(MODEL, provider=providers.OpenAIProvider(openai_client=client))
    agent = pydantic_ai.Agent(model, tools=[weather], instructions="Be brief.")
    assert (await agent.run("How is the weather?")).output == "I heard: Rome is sunny. Oslo is sunny. "
    plain = pydantic_ai.Agent(model)
    async with plain.run_stream("Hi") as streamed:
        assert [text async for text in streamed.stream_text()][-1] == HELLO
    reader = pydantic_ai.Agent(model, output_type=pydantic_ai.NativeOutput(Person))
    assert (await reader.run("Who?")).output == ADA
    async with reader.run_stream("Who?") as reading:
        assert await reading.get_output() == ADA
    caller = pydantic_ai.Agent(model, output_type=pydantic_ai.ToolOutput(Person, name="Person"))
    assert (await caller.run("Be: Person")).output == ADA
    async with agent.run_stream("How is the weather?") as acting:
        assert await acting.get_output() == "I heard: Rome is sunny. Oslo is sunny. "
    first = await plain.run("Hi")
    assert (await plain.run("And you?", message_history=first.all_messages())).output == HELLO
    with pytest.raises(pydantic_ai.ModelHTTPError) as failed:
        await plain.run("Tell me a state secret.")
    assert failed.value.status_code == 403
