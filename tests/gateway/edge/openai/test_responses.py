"""`/v1/responses` as OpenAI documents it: objects, the order of events, and responses that end early."""

import asyncio
import json
from typing import Any

import httpx
import openai as sdk
import pytest
from openai import AsyncOpenAI
from soma.model.v1 import message_pb2 as model
from soma.model.v1.options_pb2 import GenerationOptions, ResponseFormat, Sampling, Tool, ToolChoice
from soma.orchestrator.v1 import response_service_pb2 as pb

from services.mesh.call import errors
from tests.fakes.responses import answered
from tests.gateway.edge.conftest import RESPONSE_ID, Stand

USER = model.ROLE_USER
CALL = pb.ResponseItem(item_id="fc_7_0", tool_call=model.ToolCall(call_id="c1", name="look", arguments='{"a":1}'))


def text(said: str) -> model.Part:
    return model.Part(text=model.Text(text=said))


async def sse(http: httpx.AsyncClient, **body: Any) -> list[dict[str, Any]]:
    answer = await http.post("/v1/responses", json={"input": "Hi", "stream": True} | body)
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = []
    *blocks, end = answer.text.removesuffix("\n\n").split("\n\n")
    assert end == "data: [DONE]"
    for block in blocks:
        name, data = block.split("\n")
        event = json.loads(data.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        events.append(event)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    return events


async def test_a_response_has_openais_shape_and_the_settings_of_its_request(http: httpx.AsyncClient) -> None:
    answer = await http.post("/v1/responses", json={"input": "Hi", "model": "plain", "temperature": 0.7})
    assert answer.json() == {
        "id": RESPONSE_ID,
        "object": "response",
        "created_at": 1_700_000_000,
        "status": "completed",
        "background": False,
        "completed_at": 1_700_000_001,
        "conversation": None,
        "error": None,
        "frequency_penalty": 0.0,
        "incomplete_details": None,
        "instructions": None,
        "max_output_tokens": None,
        "max_tool_calls": None,
        "metadata": {},
        "model": "plain",
        "output": [
            {
                "id": "msg_7_0",
                "type": "message",
                "status": "completed",
                "role": "assistant",
                "content": [{"type": "output_text", "text": "Hello, world", "annotations": [], "logprobs": []}],
            }
        ],
        "parallel_tool_calls": True,
        "presence_penalty": 0.0,
        "previous_response_id": None,
        "prompt_cache_key": None,
        "reasoning": {"effort": None, "summary": None},
        "safety_identifier": None,
        "service_tier": "default",
        "store": True,
        "temperature": 0.7,
        "text": {"format": {"type": "text"}, "verbosity": "medium"},
        "tool_choice": "auto",
        "tools": [],
        "top_logprobs": 0,
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": {
            "input_tokens": 5,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": 2,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 7,
        },
        "user": None,
    }


async def test_every_supported_member_reaches_the_contract_and_is_in_the_response(
    openai: AsyncOpenAI, stand: Stand
) -> None:
    tool = {"type": "function", "name": "look", "description": "Looks.", "parameters": {"type": "object"}}
    schema = {"type": "object"}
    create: Any = openai.responses.create
    response = await create(
        model="plain",
        input=[
            {"role": "developer", "content": "Be kind."},
            {"role": "user", "content": [{"type": "input_text", "text": "a"}, {"type": "input_text", "text": "b"}]},
            {"type": "function_call", "call_id": "c1", "name": "look", "arguments": "{}", "id": "fc_1"},
            {"type": "function_call_output", "call_id": "c1", "output": "42"},
            {"type": "item_reference", "id": "msg_7_0"},
        ],
        instructions="Be brief.",
        max_output_tokens=9,
        temperature=0.5,
        top_p=0.9,
        top_logprobs=2,
        tools=[tool],
        tool_choice={"type": "function", "name": "look"},
        parallel_tool_calls=False,
        text={"format": {"type": "json_schema", "name": "a", "schema": schema, "strict": True}},
        metadata={"a": "b"},
        user="u",
        store=False,
        previous_response_id=RESPONSE_ID,
        truncation="disabled",
        include=["message.output_text.logprobs", "reasoning.encrypted_content"],
    )
    call = model.ToolCall(call_id="c1", name="look", arguments="{}")
    said = model.Message
    assert stand.responses.requests == [
        pb.CreateResponseRequest(
            model="plain",
            input=[
                pb.ResponseInput(message=said(role=model.ROLE_SYSTEM, content="Be kind.")),
                pb.ResponseInput(message=said(role=USER, parts=[text("a"), text("b")])),
                pb.ResponseInput(message=said(role=model.ROLE_ASSISTANT, tool_calls=[call])),
                pb.ResponseInput(message=said(role=model.ROLE_TOOL, tool_call_id="c1", content="42")),
                pb.ResponseInput(item_id="msg_7_0"),
            ],
            settings=pb.ResponseSettings(
                instructions="Be brief.",
                options=GenerationOptions(
                    sampling=Sampling(max_tokens=9, temperature=0.5, top_p=0.9, top_logprobs=2),
                    tools=[Tool(name="look", description="Looks.", parameters='{"type":"object"}')],
                    tool_choice=ToolChoice(mode=ToolChoice.MODE_NAMED, name="look"),
                    parallel_tool_calls=False,
                    response_format=ResponseFormat(
                        type=ResponseFormat.TYPE_JSON_SCHEMA, name="a", schema='{"type":"object"}', strict=True
                    ),
                    user="u",
                    whole=True,
                ),
                metadata={"a": "b"},
                store=False,
                previous_response_id=RESPONSE_ID,
            ),
        )
    ]
    assert response.tools[0].model_dump(exclude_none=True) == tool
    assert response.tool_choice.model_dump() == {"type": "function", "name": "look"}
    assert response.text is not None
    assert response.text.format is not None
    assert response.text.format.type == "json_schema"
    assert (response.temperature, response.top_p, response.max_output_tokens) == (0.5, 0.9, 9)
    assert (response.instructions, response.metadata, response.store) == ("Be brief.", {"a": "b"}, False)


async def test_a_text_streams_in_the_published_order(http: httpx.AsyncClient) -> None:
    events = await sse(http)
    assert [event["type"] for event in events] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    part = {"type": "output_text", "text": "Hello, world", "annotations": [], "logprobs": []}
    where = {"item_id": "msg_7_0", "output_index": 0, "content_index": 0}
    item = {"id": "msg_7_0", "type": "message", "role": "assistant"}
    assert events[0]["response"]["status"] == "in_progress"
    assert events[2]["item"] == item | {"status": "in_progress", "content": []}
    assert events[3].items() >= (where | {"part": part | {"text": ""}}).items()
    assert events[4].items() >= (where | {"delta": "Hello", "logprobs": []}).items()
    assert events[6].items() >= (where | {"text": "Hello, world"}).items()
    assert events[7].items() >= (where | {"part": part}).items()
    assert events[8]["item"] == item | {"status": "completed", "content": [part]}
    assert events[9]["response"]["output"] == [events[8]["item"]]


async def test_a_function_call_streams_its_arguments(http: httpx.AsyncClient, stand: Stand) -> None:
    event = pb.CreateResponseResponse
    begun = pb.ResponseItem(item_id="fc_7_0", tool_call=model.ToolCall(call_id="c1", name="look"))
    whole = answered()
    whole[1].item_begun.item.CopyFrom(begun)
    whole[2].item_done.item.CopyFrom(CALL)
    whole[3].finished.output[0].CopyFrom(CALL)
    pieces = [event(arguments=pb.ResponseArgumentsDelta(arguments=piece)) for piece in ('{"a"', ":1}")]
    stand.responses.script = [*whole[:2], *pieces, *whole[2:]]
    events = await sse(http)
    assert [event["type"].removeprefix("response.") for event in events[2:]] == [
        "output_item.added",
        "function_call_arguments.delta",
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "output_item.done",
        "completed",
    ]
    call = {"id": "fc_7_0", "type": "function_call", "call_id": "c1", "name": "look"}
    assert events[2]["item"] == call | {"status": "in_progress", "arguments": ""}
    assert events[3].items() >= {"item_id": "fc_7_0", "output_index": 0, "delta": '{"a"'}.items()
    assert events[5].items() >= {"item_id": "fc_7_0", "name": "look", "arguments": '{"a":1}'}.items()
    assert events[6]["item"] == call | {"status": "completed", "arguments": '{"a":1}'}


@pytest.mark.parametrize(
    ("finish", "reason"),
    [(model.FINISH_REASON_LENGTH, "max_output_tokens"), (model.FINISH_REASON_CONTENT_FILTER, "content_filter")],
)
async def test_an_answer_that_ends_early_is_incomplete(
    http: httpx.AsyncClient, stand: Stand, finish: model.FinishReason.ValueType, reason: str
) -> None:
    script = answered("Hel", state=pb.Response.STATE_INCOMPLETE)
    script[-1].finished.finish_reason = finish
    stand.responses.reset(script)
    last = (await sse(http))[-1]
    assert (last["type"], last["response"]["status"]) == ("response.incomplete", "incomplete")
    assert last["response"]["incomplete_details"] == {"reason": reason}


async def test_a_failure_during_the_stream_is_the_last_event_and_one_before_it_is_a_status(
    http: httpx.AsyncClient, openai: AsyncOpenAI, stand: Stand
) -> None:
    failure = errors.ResourceExhausted("slow down", reason="PROVIDER_RATE_LIMITED", retry_after=3)
    stand.responses.script = [*answered("Hel")[:3], failure]
    told, last = (await sse(http))[-2:]
    error = {"code": "rate_limit_exceeded", "message": "slow down", "param": None}
    assert told == {"type": "error", "sequence_number": 5, **error, "error": {"type": "requests", **error}}
    assert (last["type"], last["response"]["status"]) == ("response.failed", "failed")
    assert last["response"]["error"] == {"code": "rate_limit_exceeded", "message": "slow down"}
    with pytest.raises(sdk.RateLimitError):
        await openai.responses.create(model="plain", input="Hi")
    stand.responses.script = [failure]
    with pytest.raises(sdk.RateLimitError) as caught:
        await openai.responses.create(model="plain", input="Hi", stream=True)
    assert caught.value.response.headers["retry-after"] == "3"


async def test_a_stream_without_its_last_event_is_not_a_complete_response(
    http: httpx.AsyncClient, stand: Stand
) -> None:
    stand.responses.reset(answered("Hel")[:3])
    assert (await sse(http))[-1]["type"] == "response.failed"


async def test_a_client_that_disconnects_cancels_its_response(http: httpx.AsyncClient, stand: Stand) -> None:
    stand.responses.script = [*answered("Hel")[:3], asyncio.Event()]
    async with http.stream("POST", "/v1/responses", json={"input": "Hi", "stream": True}) as answer:
        await anext(answer.aiter_lines())
    async with asyncio.timeout(15):
        await stand.responses.ended.wait()


async def test_a_stored_response_is_retrieved_cancelled_and_deleted(openai: AsyncOpenAI, stand: Stand) -> None:
    made = await openai.responses.create(model="plain", input="Hi")
    assert (await openai.responses.retrieve(made.id)).output_text == "Hello, world"
    stand.responses.script = [answered()[0], asyncio.Event()]
    made = await openai.responses.create(model="plain", input="Hi", background=True)
    assert (await openai.responses.cancel(made.id)).status == "cancelled"
    await openai.responses.delete(made.id)
    with pytest.raises(sdk.NotFoundError) as caught:
        await openai.responses.retrieve(made.id)
    assert caught.value.code == "response_not_found"


async def test_a_deleted_response_is_confirmed(http: httpx.AsyncClient) -> None:
    await http.post("/v1/responses", json={"input": "Hi"})
    gone = await http.delete(f"/v1/responses/{RESPONSE_ID}")
    assert gone.json() == {"id": RESPONSE_ID, "object": "response", "deleted": True}


async def test_a_background_response_is_returned_as_soon_as_it_has_begun(openai: AsyncOpenAI, stand: Stand) -> None:
    stand.responses.script = [answered()[0], asyncio.Event()]
    made = await openai.responses.create(model="plain", input="Hi", background=True)
    assert (made.status, made.background) == ("in_progress", True)


async def test_a_known_path_with_another_method_lists_the_allowed_methods(http: httpx.AsyncClient) -> None:
    answer = await http.put(f"/v1/responses/{RESPONSE_ID}")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, DELETE")
    assert (await http.get(f"/v1/responses/{RESPONSE_ID}/cancel")).headers["allow"] == "POST"


REFUSED: list[tuple[dict[str, Any], str | None, str]] = [
    ({"input": None}, "input", "Missing required parameter: 'input'."),
    ({"input": 1}, "input", "one of a string or array"),
    ({"input": []}, "input", "empty array"),
    ({"input": [{"type": "thought"}]}, "input[0].type", "Supported values are"),
    ({"input": [{"type": "reasoning"}]}, "input[0].summary", "Missing required parameter"),
    ({"input": [{"role": "tool", "content": ""}]}, "input[0].role", "Invalid value: 'tool'"),
    ({"input": [{"role": "user"}]}, "input[0].content", "Missing required parameter"),
    (
        {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "u"}]}]},
        "input[0].content[0].image_url",
        "expected an http or https URL, or a data URL",
    ),
    ({"input": [{"type": "function_call", "name": "a"}]}, "input[0].call_id", "Missing required parameter"),
    ({"tools": [{"type": "web_search"}]}, "tools[0].type", "Supported values are: 'function'."),
    ({"tools": [{"type": "function"}]}, "tools[0].name", "Missing required parameter"),
    ({"tool_choice": "required"}, "tool_choice", "only allowed when 'tools' are specified"),
    ({"text": {"format": {"type": "json_schema", "name": "a b"}}}, "text.format.name", "does not match"),
    ({"text": {"verbosity": 1}}, "text.verbosity", "expected a string"),
    ({"reasoning": {"effort": "some"}}, "reasoning.effort", "Supported values are: 'none', 'minimal'"),
    ({"reasoning": {"summary": "long"}}, "reasoning.summary", "Supported values are: 'auto'"),
    ({"reasoning": {"mode": "pro"}}, "reasoning.mode", "Unsupported parameter"),
    ({"truncation": "all"}, "truncation", "Supported values are: 'auto', 'disabled'."),
    ({"include": ["everything"]}, "include[0]", "Invalid value"),
    ({"previous_response_id": "r", "conversation": "c"}, "previous_response_id", "Mutually exclusive"),
    ({"background": True, "store": False}, "background", "requires 'store'"),
    ({"prompt": {"id": "p"}}, "prompt", "Unsupported parameter"),
    ({"max_output_tokens": 0}, "max_output_tokens", "integer below minimum value"),
]


@pytest.mark.parametrize(("members", "param", "words"), REFUSED)
async def test_a_request_is_refused_in_openais_words_naming_the_parameter(
    http: httpx.AsyncClient, stand: Stand, members: dict[str, Any], param: str | None, words: str
) -> None:
    answer = await http.post("/v1/responses", json={"input": "Hi"} | members)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param
    assert words in answer.json()["error"]["message"]
    assert stand.responses.requests == []


async def test_parameters_that_may_be_dropped_are_dropped_and_named(http: httpx.AsyncClient) -> None:
    reasoning = {"effort": "low", "mode": "pro"}
    body = {"input": "Hi", "reasoning": reasoning, "prompt": {"id": "p"}, "soma": {"drop_params": True}}
    answer = await http.post("/v1/responses", json=body)
    assert answer.json()["soma"] == {"dropped_params": ["prompt", "reasoning.mode"]}
    assert answer.json()["reasoning"] == {"effort": "low", "summary": None}
    assert "soma" not in (await http.post("/v1/responses", json={"input": "Hi"})).json()


@pytest.mark.parametrize(
    ("given", "whole"), [({}, True), ({"stream": True}, False), ({"background": True}, False), ({"stream": None}, True)]
)
async def test_only_a_response_that_nobody_can_read_while_it_is_made_is_asked_for_whole(
    http: httpx.AsyncClient, stand: Stand, given: dict[str, Any], whole: bool
) -> None:
    answer = await http.post("/v1/responses", json={"input": "Hi", **given})
    assert answer.status_code == 200
    assert stand.responses.requests[-1].settings.options.whole is whole
