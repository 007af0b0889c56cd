"""SmolLM2 through the public port of a stack without providers, and what happens when its process fails."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest
from openai import APIError, AsyncOpenAI

from cli.status import State
from services.mesh.process.keys import read_key
from services.mesh.testing.waiting import until
from tests.e2e.stack import SOMA, Stack, command

MODEL = "smollm2-135m-instruct"
HELLO: Any = [{"role": "user", "content": "Say hello."}]
CITY = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 20}},
    "required": ["city"],
    "additionalProperties": False,
}
TOOLS: Any = [{"type": "function", "function": {"name": "weather", "parameters": CITY}}]


@pytest.fixture(scope="module")
async def offline(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """A stack of the model service and what a chat needs, without providers."""
    directory = tmp_path_factory.mktemp("offline")
    (directory / "soma.toml").write_text(
        '[model]\nollama_url = ""\nfirst_byte_timeout = 20\n[llm]\nslots = 1\ncontext = 1024\nidle_seconds = 60\n'
    )
    stack = Stack(directory)
    async with AsyncExitStack() as closing:
        closing.push_async_callback(stack.down)
        await stack.up()
        yield stack


@pytest.fixture
async def client(offline: Stack) -> AsyncIterator[AsyncOpenAI]:
    async with offline.openai() as opened:
        yield opened.with_options(timeout=90.0)


async def running(stack: Stack) -> int:
    """The answers that the process of the part makes now."""
    key, port = read_key(stack.data_dir / "llm" / "key"), stack.part("llm").port
    async with httpx.AsyncClient(headers={"authorization": f"Bearer {key}"}) as http:
        found: int = (await http.get(f"http://127.0.0.1:{port}/health")).json()["running"]
        return found


async def test_it_is_listed_before_it_was_started_and_is_not_the_default(offline: Stack) -> None:
    assert offline.part("llm").state is State.IDLE
    async with offline.http() as http:
        listed = {model["name"]: model for model in (await http.get("/api/v1/models/available")).json()["models"]}
    model = listed[MODEL]
    assert model["provider"] == "llm"
    assert model["available"]
    assert model["capabilities"] == ["CAPABILITY_CHAT", "CAPABILITY_TOOLS"]
    assert model["context_window"] == 1024
    assert listed["soma-extract-v1"]["default"]
    assert offline.part("llm").state is State.IDLE


async def test_many_who_ask_at_once_start_one_process(offline: Stack, client: AsyncOpenAI) -> None:
    answers = await asyncio.gather(
        *(client.chat.completions.create(model=MODEL, messages=HELLO, max_tokens=2, seed=3) for _ in range(8))
    )
    assert len({answer.choices[0].message.content for answer in answers}) == 1
    part = offline.part("llm")
    assert (part.state, part.restarts) == (State.READY, 0)


async def test_structured_output_and_tools(offline: Stack, client: AsyncOpenAI) -> None:
    schema: Any = {"type": "json_schema", "json_schema": {"name": "place", "schema": CITY}}
    answer = await client.chat.completions.create(
        model=MODEL, messages=HELLO, max_tokens=60, seed=3, response_format=schema
    )
    assert json.loads(answer.choices[0].message.content or "").keys() == {"city"}
    answer = await client.chat.completions.create(
        model=MODEL, messages=HELLO, max_tokens=60, seed=3, tools=TOOLS, tool_choice="required"
    )
    assert answer.choices[0].finish_reason == "tool_calls"
    calls: Any = answer.choices[0].message.tool_calls
    assert json.loads(calls[0].function.arguments).keys() == {"city"}


async def test_a_stream_that_was_cut_ends_with_a_typed_error_and_the_next_request_works(
    offline: Stack, client: AsyncOpenAI
) -> None:
    body = {"model": MODEL, "messages": HELLO, "max_tokens": 900, "stream": True, "ignore_eos": True}
    lines = list[str]()
    async with offline.http() as http, http.stream("POST", "/v1/chat/completions", json=body, timeout=60) as answer:
        async for line in answer.aiter_lines():
            if '"content"' in line and len(lines) == 0:
                offline.kill("llm")
            lines += [line] if line else []
    (last,) = [json.loads(line.removeprefix("data: "))["error"] for line in lines if "error" in line]
    assert last["code"] == "provider_stream_cut"
    again = await client.chat.completions.create(model=MODEL, messages=HELLO, max_tokens=2)
    assert again.usage is not None
    assert again.usage.completion_tokens == 2
    assert offline.part("llm").restarts == 1


async def test_the_work_stops_when_the_client_of_the_mesh_leaves(offline: Stack) -> None:
    body = {"model": MODEL, "messages": HELLO, "max_tokens": 900, "stream": True, "ignore_eos": True}
    async with offline.http() as http, http.stream("POST", "/v1/chat/completions", json=body, timeout=60) as answer:
        async for line in answer.aiter_lines():
            if '"content"' in line:
                break
        assert await running(offline) == 1

    async def stopped() -> bool:
        return await running(offline) == 0

    await until(stopped, "nothing is computed")


async def test_a_replaced_serve_process_finds_the_same_process_of_the_part(offline: Stack, client: AsyncOpenAI) -> None:
    await client.chat.completions.create(model=MODEL, messages=HELLO, max_tokens=2)
    before = offline.part("llm").pid
    assert before is not None
    assert (await offline.soma("restart")).status == 0
    await client.chat.completions.create(model=MODEL, messages=HELLO, max_tokens=2)
    assert offline.part("llm").pid == before


async def test_a_file_that_was_added_is_there_at_once_and_gone_when_it_is_removed(offline: Stack) -> None:
    added = offline.data_dir / "llm" / "broken.gguf"
    added.write_bytes(b"none")
    async with offline.http() as http:
        listed = {model["name"]: model for model in (await http.get("/api/v1/models/available")).json()["models"]}
        assert "it is not a GGUF file" in listed["broken"]["unavailable_reason"]
        answer = await http.post("/v1/chat/completions", json={"model": "broken", "messages": HELLO})
        assert answer.json()["error"]["code"] == "model_file_invalid"
        removed = await command(SOMA, "models", "remove", "broken", "--data-dir", offline.data_dir)
        assert removed.status == 0, removed.errors
        listed = {model["name"]: model for model in (await http.get("/api/v1/models/available")).json()["models"]}
        assert "broken" not in listed


async def test_a_process_that_stands_still_is_given_up_in_time(offline: Stack, client: AsyncOpenAI) -> None:
    await client.chat.completions.create(model=MODEL, messages=HELLO, max_tokens=2)
    process = offline.process("llm")
    os.kill(process.pid, signal.SIGSTOP)
    try:
        with pytest.raises(APIError) as failed:
            async for _ in await client.chat.completions.create(model=MODEL, messages=HELLO, max_tokens=2, stream=True):
                pass
        assert failed.value.code == "provider_timeout"
    finally:
        os.kill(process.pid, signal.SIGCONT)
    await client.chat.completions.create(model=MODEL, messages=HELLO, max_tokens=2)
