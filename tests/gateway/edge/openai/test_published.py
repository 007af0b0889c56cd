"""Everything that the edge sends fits the types that OpenAI publishes: objects, chunks, events, lists."""

import json
from collections.abc import Sequence
from typing import Any

import httpx
import pytest
from openai.types import CreateEmbeddingResponse, Model
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response, ResponseStreamEvent
from openai.types.responses.response_item_list import ResponseItemList
from soma.model.v1 import message_pb2 as model
from soma.orchestrator.v1 import chat_service_pb2 as chat
from soma.orchestrator.v1 import response_service_pb2 as pb

from services.mesh.call.errors import Unavailable
from tests.fakes.chat import delta, finished, refused, spoken, started, tool_call
from tests.fakes.responses import answered
from tests.gateway.edge.conftest import RESPONSE_ID, Stand
from tests.gateway.edge.openai.published import fits

HI: Any = {"messages": [{"role": "user", "content": "Hi"}]}
LIKELY = model.TokenLogprob(token="Hi", logprob=-0.5, top=[model.TokenLogprob(token="Ho", logprob=-1.5, utf8=b"Ho")])
CALLS = [tool_call(0, "call_a", "look", "{}"), tool_call(1, "call_b", "look", "{}")]
TURNS: dict[str, Sequence[Any]] = {
    "text": spoken("Hello", ", world"),
    "calls": [started(), delta("Let me see."), *CALLS, finished(model.FINISH_REASON_TOOL_CALLS)],
    "refusal": [started(), refused("I cannot."), finished()],
    "likely": [started(), chat.ChatResponse(delta=model.Delta(text="Hi", logprobs=[LIKELY])), finished()],
    "nothing": [started(), finished(model.FINISH_REASON_CONTENT_FILTER)],
}
# Members that OpenAI's API sends, or sent in earlier releases, and its types do not have.
BEYOND = ("store", "name", "bytes")


def events_in(answer: httpx.Response) -> list[Any]:
    """The data of each event but `[DONE]`."""
    lines = [line.removeprefix("data: ") for line in answer.text.splitlines() if line.startswith("data: ")]
    return [json.loads(line) for line in lines if line != "[DONE]"]


@pytest.mark.parametrize("turn", TURNS)
async def test_chat_completions(http: httpx.AsyncClient, stand: Stand, turn: str) -> None:
    stand.chat.script = TURNS[turn]
    fits(ChatCompletion, (await http.post("/v1/chat/completions", json=HI | {"n": 2})).json())
    options = {"stream": True, "stream_options": {"include_usage": True}, "n": 2}
    chunks = events_in(await http.post("/v1/chat/completions", json=HI | options))
    for chunk in chunks:
        fits(ChatCompletionChunk, chunk)
    assert {choice["index"] for chunk in chunks for choice in chunk["choices"]} == {0, 1}


def response_of(item: pb.ResponseItem) -> list[pb.CreateResponseResponse]:
    """A response with only this item."""
    begun, event = pb.ResponseItem(item_id=item.item_id), pb.CreateResponseResponse
    if item.HasField("text"):
        begun.text.refusal = item.text.refusal
        piece = event(delta=pb.ResponseTextDelta(text=item.text.text, logprobs=item.text.logprobs))
    else:
        begun.tool_call.MergeFrom(model.ToolCall(call_id=item.tool_call.call_id, name=item.tool_call.name))
        piece = event(arguments=pb.ResponseArgumentsDelta(arguments=item.tool_call.arguments))
    created, _, done, last = answered()
    done.item_done.item.CopyFrom(item)
    last.finished.output[0].CopyFrom(item)
    return [created, event(item_begun=pb.ResponseItemEvent(item=begun)), piece, done, last]


ITEMS = {
    "text": pb.ResponseItem(item_id="msg_7_0", text=pb.ResponseText(text="Hi", logprobs=[LIKELY])),
    "refusal": pb.ResponseItem(item_id="msg_7_0", text=pb.ResponseText(text="I cannot.", refusal=True)),
    "call": pb.ResponseItem(item_id="fc_7_0", tool_call=model.ToolCall(call_id="c1", name="look", arguments="{}")),
}
FORMAT = {"type": "json_schema", "name": "a", "schema": {"type": "object"}, "strict": True}
LOOK = {"type": "function", "name": "look", "parameters": {"type": "object"}, "strict": True}


@pytest.mark.parametrize("item", ITEMS)
async def test_responses_and_their_events(http: httpx.AsyncClient, stand: Stand, item: str) -> None:
    stand.responses.script = list(response_of(ITEMS[item]))
    asked = {"input": "Hi", "tools": [LOOK], "text": {"format": FORMAT}, "instructions": "Be brief.", "user": "u"}
    whole = (await http.post("/v1/responses", json=asked)).json()
    fits(Response, whole, BEYOND)
    events = events_in(await http.post("/v1/responses", json=asked | {"stream": True}))
    for number, event in enumerate(events):
        fits(ResponseStreamEvent, event, BEYOND)
        assert event["sequence_number"] == number
    assert {event["item_id"] for event in events if "item_id" in event} == {ITEMS[item].item_id}
    assert [event["item"] for event in events if event["type"] == "response.output_item.done"] == whole["output"]


async def test_a_refusal_has_events_of_its_own(http: httpx.AsyncClient, stand: Stand) -> None:
    stand.responses.script = list(response_of(ITEMS["refusal"]))
    events = events_in(await http.post("/v1/responses", json={"input": "Hi", "stream": True}))
    assert [event["type"].removeprefix("response.") for event in events[3:8]] == [
        "content_part.added",
        "refusal.delta",
        "refusal.done",
        "content_part.done",
        "output_item.done",
    ]
    assert (events[4]["delta"], events[5]["refusal"]) == ("I cannot.", "I cannot.")
    assert events[7]["item"]["content"] == [{"type": "refusal", "refusal": "I cannot."}]


@pytest.mark.parametrize("state", [pb.Response.STATE_INCOMPLETE, pb.Response.STATE_CANCELLED, pb.Response.STATE_FAILED])
async def test_responses_that_are_not_completed(
    http: httpx.AsyncClient, stand: Stand, state: pb.Response.State.ValueType
) -> None:
    stand.responses.reset(answered("Hel", state=state))
    for event in events_in(await http.post("/v1/responses", json={"input": "Hi", "stream": True})):
        fits(ResponseStreamEvent, event, BEYOND)
    stand.responses.script = [*answered("Hel")[:3], Unavailable("gone")]
    events = events_in(await http.post("/v1/responses", json={"input": "Hi", "stream": True}))
    assert events[-1]["type"] == "response.failed"
    fits(ResponseStreamEvent, events[-1], BEYOND)


async def test_embeddings_and_models(http: httpx.AsyncClient) -> None:
    fits(CreateEmbeddingResponse, (await http.post("/v1/embeddings", json={"input": ["a", "b"]})).json())
    for each in (await http.get("/v1/models")).json()["data"]:
        fits(Model, each)


async def test_input_items(http: httpx.AsyncClient, stand: Stand) -> None:
    await http.post("/v1/responses", json={"input": "Hi"})
    call = model.ToolCall(call_id="c1", name="look", arguments="{}")
    messages = [
        model.Message(role=model.ROLE_SYSTEM, content="Be kind."),
        model.Message(role=model.ROLE_USER, content="Hi"),
        model.Message(role=model.ROLE_ASSISTANT, content="Let me see."),
        model.Message(role=model.ROLE_ASSISTANT, tool_calls=[call]),
        model.Message(role=model.ROLE_TOOL, tool_call_id="c1", content="42"),
    ]
    items = [pb.ResponseInputItem(item_id=f"item_{index}", message=each) for index, each in enumerate(messages)]
    first, last = pb.ResponseInputItem(item_id="item_9"), pb.ResponseInputItem(item_id="item_5")
    stand.responses.kept[RESPONSE_ID].inputs = [first, *items, last]
    path = f"/v1/responses/{RESPONSE_ID}/input_items"
    page = (await http.get(path, params={"limit": 5, "order": "asc", "after": "item_9"})).json()
    fits(ResponseItemList, page)
    assert (page["first_id"], page["last_id"], page["has_more"]) == ("item_0", "item_4", True)
    assert [(item["id"], item["type"]) for item in page["data"]] == [
        ("item_0", "message"),
        ("item_1", "message"),
        ("item_2", "message"),
        ("item_3", "function_call"),
        ("item_4", "function_call_output"),
    ]
    listed = pb.ListResponseInputItemsRequest
    assert stand.responses.listed == [listed(response_id=RESPONSE_ID, page_size=5, page_token="item_9")]
    await http.get(path)
    assert stand.responses.listed[-1] == listed(response_id=RESPONSE_ID, page_size=20, newest_first=True)


@pytest.mark.parametrize(
    ("query", "param", "words"),
    [
        ("limit=0", "limit", "Expected a value >= 1"),
        ("limit=101", "limit", "Expected a value <= 100"),
        ("limit=many", "limit", "expected an integer"),
        (f"limit={'9' * 5000}", "limit", "expected an integer"),
        ("order=up", "order", "Supported values are: 'desc', 'asc'."),
        ("before=x", "before", "Unknown parameter: 'before'."),
        (f"after={'x' * 129}", "after", "128 characters"),
    ],
)
async def test_a_wrong_query_parameter_is_refused_by_name(
    http: httpx.AsyncClient, query: str, param: str, words: str
) -> None:
    answer = await http.get(f"/v1/responses/{RESPONSE_ID}/input_items?{query}")
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
    assert words in answer.json()["error"]["message"]
