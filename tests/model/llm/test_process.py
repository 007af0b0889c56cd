"""The process with the real model: what it answers, whom it refuses, and when it ends."""

import asyncio
import json
import signal
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.mesh.testing.waiting import until
from tests.model.llm.conftest import MODEL, Llm, serving, started
from tests.model.llm.made import gguf, of_unknown_architecture, smollm2, sparse

ASKED = [{"role": "user", "content": "What is the weather in Paris?"}]
WEATHER = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "maxLength": 20},
        "days": {"type": "integer", "minimum": 1, "maximum": 9},
    },
    "required": ["city", "days"],
    "additionalProperties": False,
}
TOOLS = [
    {"type": "function", "function": {"name": "weather", "description": "Of a city.", "parameters": WEATHER}},
    {"type": "function", "function": {"name": "time", "parameters": {"type": "object", "additionalProperties": False}}},
]
PATH = "/v1/chat/completions"
LONG = {"model": MODEL, "messages": ASKED, "max_tokens": 900, "ignore_eos": True, "stream": True}


async def asked(llm: Llm, **more: Any) -> dict[str, Any]:
    body = {"model": MODEL, "messages": ASKED, "max_tokens": 12, "seed": 7, **more}
    answer = await llm.http.post(PATH, json=body)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def refused(llm: Llm, **more: Any) -> tuple[int, str]:
    answer = await llm.http.post(PATH, json={"model": MODEL, "messages": ASKED, "max_tokens": 4, **more})
    return answer.status_code, answer.json()["error"]["message"]


async def streamed(llm: Llm, **more: Any) -> list[dict[str, Any]]:
    body = {"model": MODEL, "messages": ASKED, "max_tokens": 12, "seed": 7, "stream": True, **more}
    async with llm.http.stream("POST", PATH, json=body) as answer:
        lines = [line.removeprefix("data: ") async for line in answer.aiter_lines() if line.startswith("data: ")]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


async def test_the_same_seed_gives_the_same_answer_as_a_whole_and_as_a_stream(llm: Llm) -> None:
    whole = await asked(llm)
    message, usage = whole["choices"][0]["message"], whole["usage"]
    assert whole["model"] == MODEL
    assert whole["choices"][0]["finish_reason"] == "length"
    assert usage["completion_tokens"] == 12
    assert (await asked(llm))["choices"][0]["message"] == message
    assert (await asked(llm, seed=8))["choices"][0]["message"] != message
    chunks = await streamed(llm)
    texts = [choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"]]
    assert "".join(texts) == message["content"]
    assert sum(1 for text in texts if text) > 4
    assert chunks[-2]["choices"][0]["finish_reason"] == "length"
    assert chunks[-1]["usage"]["completion_tokens"] == 12


async def test_stop_sequences_and_logprobs(llm: Llm) -> None:
    text = (await asked(llm))["choices"][0]["message"]["content"]
    word = text.split()[1]
    stopped = (await asked(llm, stop=[word]))["choices"][0]
    assert stopped["finish_reason"] == "stop"
    assert stopped["message"]["content"] == text.partition(word)[0]
    tokens = (await asked(llm, logprobs=True, top_logprobs=2))["choices"][0]["logprobs"]["content"]
    assert "".join(token["token"] for token in tokens) == text
    assert all(len(token["top_logprobs"]) == 2 for token in tokens)


@pytest.mark.parametrize("seed", [1, 2])
async def test_an_answer_by_a_schema_is_valid(llm: Llm, seed: int) -> None:
    schema = {"type": "json_schema", "json_schema": {"name": "weather", "schema": WEATHER}}
    choice = (await asked(llm, response_format=schema, max_tokens=100, seed=seed))["choices"][0]
    found = json.loads(choice["message"]["content"])
    assert found.keys() == {"city", "days"}
    assert 1 <= found["days"] <= 9
    assert choice["finish_reason"] == "stop"
    any_object = {"type": "json_object"}
    choice = (await asked(llm, response_format=any_object, max_tokens=60, seed=seed))["choices"][0]
    assert choice["message"]["content"].startswith("{")
    if choice["finish_reason"] == "stop":
        assert isinstance(json.loads(choice["message"]["content"]), dict)


async def test_an_answer_by_a_schema_that_is_cut_off_says_so(llm: Llm) -> None:
    schema = {"type": "json_schema", "json_schema": {"name": "weather", "schema": WEATHER}}
    assert (await asked(llm, response_format=schema, max_tokens=3))["choices"][0]["finish_reason"] == "length"


async def test_a_required_tool_is_called_with_valid_arguments(llm: Llm) -> None:
    choice = (await asked(llm, tools=TOOLS[:1], tool_choice="required", max_tokens=100))["choices"][0]
    (call,) = choice["message"]["tool_calls"]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] is None
    assert call["function"]["name"] == "weather"
    assert json.loads(call["function"]["arguments"]).keys() == {"city", "days"}


async def test_a_named_tool_is_called_also_in_a_stream(llm: Llm) -> None:
    named = {"type": "function", "function": {"name": "time"}}
    chunks = await streamed(llm, tools=TOOLS, tool_choice=named, max_tokens=60)
    calls = [call for chunk in chunks for each in chunk["choices"] for call in each["delta"].get("tool_calls", ())]
    assert [(call["index"], call["function"]) for call in calls] == [(0, {"name": "time", "arguments": "{}"})]
    assert chunks[-2]["choices"][0]["finish_reason"] == "tool_calls"


async def test_a_model_that_may_call_a_tool_does_it_in_the_form_or_writes_text(llm: Llm) -> None:
    def turn(city: str) -> list[dict[str, Any]]:
        arguments = json.dumps({"city": city, "days": 1})
        call = {"id": city, "type": "function", "function": {"name": "weather", "arguments": arguments}}
        return [
            {"role": "user", "content": f"How is the weather in {city}?"},
            {"role": "assistant", "content": None, "tool_calls": [call]},
        ]

    history = [
        *turn("Rome"),
        *turn("Oslo"),
        *turn("Lima"),
        {"role": "user", "content": "How is the weather in Lisbon?"},
    ]
    choice = (await asked(llm, messages=history, tools=TOOLS, temperature=0, max_tokens=60))["choices"][0]
    (call,) = choice["message"]["tool_calls"]
    assert json.loads(call["function"]["arguments"]).keys() == {"city", "days"}
    choice = (await asked(llm, messages=history, tools=TOOLS, tool_choice="none", max_tokens=8))["choices"][0]
    assert "tool_calls" not in choice["message"]


async def test_requests_that_cannot_be_answered_are_refused(llm: Llm) -> None:
    assert await refused(llm, model="other") == (404, "there is no model `other`")
    status, why = await refused(llm, messages=[{"role": "user", "content": "word " * 2000}])
    assert (status, "exceeds the available context size (1024 tokens)" in why) == (400, True)
    assert await refused(llm, tool_choice="required") == (400, "tool_choice is required, and there are no tools")
    assert (await refused(llm, messages="hello"))[0] == 400
    assert (await llm.http.post(PATH, content=b"{")).status_code == 400
    assert (await llm.http.get("/v1/other")).status_code == 404
    stranger = await llm.http.get("/health", headers={"authorization": "Bearer other"})
    assert (stranger.status_code, stranger.headers["connection"]) == (401, "close")
    answer = await llm.http.get("/v1/models")
    assert [model["id"] for model in answer.json()["data"]] == [MODEL]


async def test_the_work_stops_when_the_reader_of_a_stream_leaves(llm: Llm) -> None:
    async with llm.http.stream("POST", PATH, json=LONG) as answer:
        async for line in answer.aiter_lines():
            if "content" in line:
                break
        assert await llm.running() == 1
    left = time.monotonic()
    await until(lambda: _none(llm), "it has stopped")
    # A token of a machine that other tests use too; alone it is 15 ms.
    assert time.monotonic() - left < 2.0


async def test_the_work_stops_when_the_one_who_waits_for_a_whole_answer_leaves(llm: Llm) -> None:
    work = asyncio.create_task(llm.http.post(PATH, json={**LONG, "stream": False}))
    await until(llm.running, "it answers")
    work.cancel()
    await asyncio.wait({work})
    await until(lambda: _none(llm), "it has stopped")


async def _none(llm: Llm) -> bool:
    return await llm.running() == 0


async def test_those_who_wait_for_a_slot_are_answered_in_turn_and_may_leave(llm: Llm) -> None:
    first = asyncio.create_task(llm.http.post(PATH, json={**LONG, "max_tokens": 40}))
    await until(llm.running, "it answers")
    leaving = asyncio.create_task(llm.http.post(PATH, json=LONG))
    second = asyncio.create_task(asked(llm, max_tokens=2))
    await asyncio.sleep(0)
    leaving.cancel()
    assert (await second)["usage"]["completion_tokens"] == 2
    assert first.done() or (await first).status_code == 200


async def test_a_model_is_exchanged_for_the_one_that_is_asked_for(tmp_path: Path) -> None:
    folder = tmp_path / "llm"
    folder.mkdir()
    (folder / "twin.gguf").symlink_to(smollm2())
    (folder / "none.gguf").write_bytes(b"none")
    (folder / "tiny.gguf").write_bytes(gguf())
    of_unknown_architecture(folder / "unknown.gguf")
    sparse(folder / "huge.gguf", 1 << 42)
    async with serving(tmp_path, context="512", slots="2") as llm:
        names = [MODEL, "twin"] * 2
        answers = await asyncio.gather(*(asked(llm, model=name, max_tokens=3) for name in names))
        assert [answer["model"] for answer in answers] == names
        for name, status, why in (
            ("none", 500, "none.gguf cannot be used: it is not a GGUF file"),
            ("tiny", 500, "llama.cpp cannot load tiny.gguf"),
            ("unknown", 500, "llama.cpp cannot load unknown.gguf (architecture `llamb`)"),
            ("huge", 507, "`huge` needs about"),
        ):
            found = await refused(llm, model=name)
            assert (found[0], why in found[1]) == (status, True), found
        # A model that could not be loaded costs nothing but the one that it was to replace.
        assert (await asked(llm, max_tokens=2))["usage"]["completion_tokens"] == 2
        assert llm.process.returncode is None


async def test_an_idle_process_ends_and_no_connection_is_refused_by_the_one_that_ends(tmp_path: Path) -> None:
    async with serving(tmp_path, idle_seconds="0.05") as llm:
        processes, answered = [llm.process], 0

        async def ask_again_and_again() -> None:
            nonlocal answered
            async with httpx.AsyncClient(base_url=llm.http.base_url, headers=llm.http.headers, timeout=60) as http:
                # Pauses around the time after which the process ends.
                for pause in (0.0, 0.05, 0.06, 0.045, 0.055, 0.0, 0.1):
                    assert (await http.get("/health")).json() == {"model": "", "running": 0}
                    answered += 1
                    await asyncio.sleep(pause)

        async def start_again() -> None:
            # What the supervisor does, without a pause between two processes.
            while True:
                assert await processes[-1].wait() == 0
                processes.append(await started(llm.listener, tmp_path, idle_seconds="0.05"))

        starting = asyncio.create_task(start_again())
        try:
            await ask_again_and_again()
        finally:
            starting.cancel()
            await asyncio.wait({starting})
            for process in processes[1:]:
                if process.returncode is None:
                    process.send_signal(signal.SIGKILL)
                await process.wait()
        assert answered == 7
        assert len(processes) > 2
