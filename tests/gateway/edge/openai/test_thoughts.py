"""A model's thoughts and the signatures on them: in answers, and in what clients send back."""

import json
from base64 import b64encode
from typing import Any

import httpx
import pytest
from openai import AsyncOpenAI
from openai.types.responses import Response, ResponseStreamEvent
from soma.model.v1 import message_pb2 as model
from soma.model.v1.message_pb2 import Reasoning
from soma.orchestrator.v1 import chat_service_pb2 as chat
from soma.orchestrator.v1 import response_service_pb2 as pb

from gateway.edge.openai.chat_request import read_chat_request
from gateway.edge.openai.response_request import read_response_request
from services.mesh.call.errors import InvalidArgument
from tests.fakes.chat import delta, finished, started, thought
from tests.fakes.responses import answered
from tests.gateway.edge.conftest import RESPONSE_ID, Stand
from tests.gateway.edge.openai.published import fits

CHAT, RESPONSES = "/v1/chat/completions", "/v1/responses"
HI: dict[str, Any] = {"messages": [{"role": "user", "content": "Hi"}]}
PLAIN = [started(), thought(0, "Let me"), thought(0, " see."), thought(1, "Yes."), delta("Hello"), finished()]
SUMMARY = '{"type":"reasoning.summary","id":"rs_1","format":"openai-responses-v1"}'
SIGNED = [
    started(),
    thought(0, "Let me see."),
    thought(0, signature="sig"),
    thought(1, redacted="AAAA"),
    delta("Hello"),
    thought(2, "In short."),
    thought(2, details=SUMMARY),
    finished(),
]
DETAILS = [
    {"type": "reasoning.text", "text": "Let me see.", "signature": "sig", "index": 0},
    {"type": "reasoning.encrypted", "data": "AAAA", "index": 1},
    {"type": "reasoning.summary", "summary": "In short.", "id": "rs_1", "format": "openai-responses-v1", "index": 2},
]
THOUGHTS = [
    Reasoning(text="Let me see.", signature="sig"),
    Reasoning(redacted="AAAA"),
    Reasoning(text="In short.", details=SUMMARY),
]


async def deltas(http: httpx.AsyncClient, **members: Any) -> list[dict[str, Any]]:
    answer = await http.post(CHAT, json=HI | {"stream": True} | members)
    lines = [line.removeprefix("data: ") for line in answer.text.splitlines() if line.startswith("data: ")]
    assert lines[-1] == "[DONE]"
    return [json.loads(line)["choices"][0]["delta"] for line in lines[:-1]]


async def message(http: httpx.AsyncClient, **members: Any) -> dict[str, Any]:
    found: dict[str, Any] = (await http.post(CHAT, json=HI | members)).json()["choices"][0]["message"]
    return found


async def test_thoughts_without_signatures_are_a_text(http: httpx.AsyncClient, stand: Stand) -> None:
    stand.chat.script = PLAIN
    whole = await message(http)
    assert (whole["reasoning_content"], whole["content"]) == ("Let me see.\n\nYes.", "Hello")
    assert "reasoning_details" not in whole
    assert await deltas(http) == [
        {"role": "assistant", "content": "", "refusal": None},
        {"reasoning_content": "Let me"},
        {"reasoning_content": " see."},
        {"reasoning_content": "\n\nYes."},
        {"content": "Hello"},
        {},
    ]


async def test_thoughts_with_signatures_are_sent_whole_before_the_end(http: httpx.AsyncClient, stand: Stand) -> None:
    stand.chat.script = SIGNED
    whole, streamed = await message(http), await deltas(http)
    assert whole["reasoning_details"] == DETAILS
    assert [each for each in streamed if "reasoning_details" in each] == [streamed[-2]]
    assert streamed[-2:] == [{"reasoning_details": DETAILS}, {}]
    text = "".join(each.get("reasoning_content", "") for each in streamed)
    assert text == whole["reasoning_content"] == "Let me see.\n\nIn short."


async def test_each_choice_has_its_own_thoughts(http: httpx.AsyncClient, stand: Stand) -> None:
    stand.chat.script = SIGNED
    choices = (await http.post(CHAT, json=HI | {"n": 2})).json()["choices"]
    assert [each["message"]["reasoning_details"] for each in choices] == [DETAILS, DETAILS]
    streamed = await deltas(http, n=2)
    assert [each["reasoning_details"] for each in streamed if "reasoning_details" in each] == [DETAILS, DETAILS]


async def test_a_client_that_wants_no_thoughts_gets_none(http: httpx.AsyncClient, stand: Stand) -> None:
    stand.chat.script = SIGNED
    excluded = {"reasoning": {"effort": "low", "exclude": True}}
    assert not {"reasoning_content", "reasoning_details"} & (await message(http, **excluded)).keys()
    assert not any("reasoning" in name for each in await deltas(http, **excluded) for name in each)


async def test_an_answer_of_openais_library_comes_back_with_its_thoughts(openai: AsyncOpenAI, stand: Stand) -> None:
    stand.chat.script = SIGNED
    create: Any = openai.chat.completions.create
    answer = await create(model="plain", **HI)
    await create(model="plain", messages=[*HI["messages"], answer.choices[0].message, *HI["messages"]])
    back = stand.chat.requests[1].messages[1]
    assert [part.reasoning for part in back.parts[:3]] == THOUGHTS
    assert [part.text.text for part in back.parts[3:]] == ["Hello"]


def assistant(**members: Any) -> model.Message:
    body = {"messages": [{"role": "assistant", "content": "Hello", **members}]}
    [said] = read_chat_request(json.dumps(body).encode()).request.messages
    return said


@pytest.mark.parametrize(
    ("members", "thoughts"),
    [
        ({"reasoning_content": "Hm."}, [Reasoning(text="Hm.")]),
        ({"reasoning": "Hm."}, [Reasoning(text="Hm.")]),
        ({"reasoning_content": None, "reasoning": "", "reasoning_details": []}, []),
        ({"reasoning_details": DETAILS, "reasoning_content": "Let me see."}, THOUGHTS),
        # LiteLLM keeps them so.
        ({"provider_specific_fields": {"reasoning_details": DETAILS}, "reasoning_content": "Let me see."}, THOUGHTS),
        ({"provider_specific_fields": {"citations": 1, "reasoning_details": None}}, []),
        ({"provider_specific_fields": None, "reasoning_content": "Hm."}, [Reasoning(text="Hm.")]),
        (
            {
                "thinking_blocks": [
                    {"type": "thinking", "thinking": "Let me see.", "signature": "sig", "cache_control": None},
                    {"type": "redacted_thinking", "data": "AAAA"},
                ],
                "reasoning_content": "Let me see.",
            },
            THOUGHTS[:2],
        ),
        (
            # The pieces of a stream, as a client may keep them.
            {
                "reasoning_details": [
                    {"type": "reasoning.text", "text": "Let me", "index": 0, "format": None},
                    {"type": "reasoning.text", "text": " see.", "index": 0},
                    {"type": "reasoning.text", "signature": "sig", "index": 0},
                    {"type": "reasoning.encrypted", "data": "AAAA", "index": 0},
                ]
            },
            THOUGHTS[:2],
        ),
    ],
)
def test_thoughts_are_read_in_the_forms_that_clients_keep(members: dict[str, Any], thoughts: list[Reasoning]) -> None:
    said = assistant(**members)
    assert [part.reasoning for part in said.parts if part.HasField("reasoning")] == thoughts
    if thoughts:
        assert (said.content, said.parts[-1].text.text) == ("", "Hello")
    else:
        assert (said.content, list(said.parts)) == ("Hello", [])


def test_thoughts_are_read_from_the_content_in_their_place() -> None:
    content = [
        {"type": "thinking", "thinking": "Hm.", "signature": "sig"},
        {"type": "thinking", "thinking": [{"type": "text", "text": "A"}, {"type": "text", "text": "h."}]},
        {"type": "text", "text": "Hello"},
    ]
    parts = assistant(content=content).parts
    assert [part.reasoning for part in parts[:2]] == [Reasoning(text="Hm.", signature="sig"), Reasoning(text="Ah.")]
    assert parts[2].text.text == "Hello"


def test_a_message_may_be_a_thought_alone_and_thoughts_of_a_user_are_not_a_models() -> None:
    assert [part.reasoning.text for part in assistant(content=None, reasoning_content="Hm.").parts] == ["Hm."]
    body = {"messages": [{"role": "user", "content": "Hi", "reasoning_content": "Hm."}]}
    assert not read_chat_request(json.dumps(body).encode()).request.messages[0].parts


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"reasoning_content": 1}, "messages[0].reasoning_content"),
        ({"reasoning_details": [{"text": "Hm."}]}, "messages[0].reasoning_details[0].type"),
        ({"thinking_blocks": [{"type": "thought", "thinking": ""}]}, "messages[0].thinking_blocks[0].type"),
        ({"thinking_blocks": [{"type": "redacted_thinking"}]}, "messages[0].thinking_blocks[0].data"),
    ],
)
def test_a_wrong_thought_is_refused_by_name(members: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        assistant(**members)
    assert caught.value.facts.violations[0].field == param


CALL = model.ToolCallDelta(index=0, call_id="c1", name="look", arguments="{}", signature="thought-sig")
EXTRA = {"google": {"thought_signature": "thought-sig"}}


async def test_the_signature_of_a_tool_call_goes_out_and_comes_back(http: httpx.AsyncClient, stand: Stand) -> None:
    stand.chat.script = [started(), chat.ChatResponse(delta=model.Delta(tool_calls=[CALL])), finished()]
    whole = await message(http)
    [call] = whole["tool_calls"]
    assert call["extra_content"] == EXTRA
    [streamed] = [each["tool_calls"][0] for each in await deltas(http) if "tool_calls" in each]
    assert streamed == call | {"index": 0}
    await http.post(CHAT, json={"messages": [*HI["messages"], whole]})
    assert stand.chat.requests[-1].messages[1].tool_calls[0].signature == "thought-sig"


@pytest.mark.parametrize(
    ("members", "signature"),
    [
        ({"provider_specific_fields": {"thought_signature": "s"}}, "s"),
        ({"provider_specific_fields": {"thought_signature": 1}}, ""),
        ({"provider_specific_fields": None, "extra_content": None}, ""),
        ({"extra_content": {"google": {}, "other": 1}}, ""),
    ],
)
def test_a_signature_is_read_where_libraries_keep_it(members: dict[str, Any], signature: str) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    assert assistant(tool_calls=[call | members]).tool_calls[0].signature == signature


# Responses

THOUGHT = Reasoning(text="Let me see.", signature="sig", provider="lab", details="{}")
HIDDEN = Reasoning(redacted="AAAA", provider="lab")


def thinking() -> list[pb.CreateResponseResponse]:
    """A response with a thought, a thought that only the provider can read, and a text."""
    event, begun = pb.CreateResponseResponse, pb.ResponseItemEvent
    created, text_begun, text_delta, text_done, last = answered("Hello")
    for index, each in ((2, text_begun.item_begun), (2, text_done.item_done)):
        each.output_index = index
    text_delta.delta.output_index = 2
    items = [pb.ResponseItem(item_id="rs_0", reasoning=THOUGHT), pb.ResponseItem(item_id="rs_1", reasoning=HIDDEN)]
    said = last.finished.output.pop()
    last.finished.output.extend([*items, said])
    pieces = [event(reasoning=pb.ResponseReasoningDelta(output_index=0, text=text)) for text in ("Let me", " see.")]
    return [
        created,
        event(item_begun=begun(output_index=0, item=pb.ResponseItem(item_id="rs_0", reasoning=Reasoning()))),
        *pieces,
        event(item_done=begun(output_index=0, item=items[0])),
        event(item_begun=begun(output_index=1, item=pb.ResponseItem(item_id="rs_1", reasoning=Reasoning()))),
        event(item_done=begun(output_index=1, item=items[1])),
        text_begun,
        text_delta,
        text_done,
        last,
    ]


async def events(http: httpx.AsyncClient, **members: Any) -> list[dict[str, Any]]:
    answer = await http.post(RESPONSES, json={"input": "Hi", "stream": True} | members)
    return [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: {")]


async def test_the_thoughts_of_a_response_stream_as_summaries_in_the_published_order(
    http: httpx.AsyncClient, stand: Stand
) -> None:
    stand.responses.reset(thinking())
    found = await events(http)
    assert [each["type"].removeprefix("response.") for each in found[2:12]] == [
        "output_item.added",
        "reasoning_summary_part.added",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.done",
        "reasoning_summary_part.done",
        "output_item.done",
        "output_item.added",
        "output_item.done",
        "output_item.added",
    ]
    item = {"id": "rs_0", "type": "reasoning"}
    summary = [{"type": "summary_text", "text": "Let me see."}]
    assert found[2]["item"] == item | {"status": "in_progress", "summary": []}
    where = {"item_id": "rs_0", "output_index": 0, "summary_index": 0}
    assert found[4].items() >= (where | {"delta": "Let me"}).items()
    assert found[6].items() >= (where | {"text": "Let me see."}).items()
    assert found[8]["item"] == item | {"status": "completed", "summary": summary}
    assert found[-1]["response"]["output"][:2] == [found[8]["item"], found[10]["item"]]
    for each in found:
        fits(ResponseStreamEvent, each, ("store",))


@pytest.mark.parametrize("stream", [False, True])
async def test_encrypted_content_is_sent_only_if_it_is_asked_for_and_comes_back_as_the_same_thought(
    http: httpx.AsyncClient, stand: Stand, stream: bool
) -> None:
    stand.responses.reset(thinking())
    include = {"include": ["reasoning.encrypted_content"], "background": stream}

    async def output(**members: Any) -> list[dict[str, Any]]:
        if stream:
            found: list[dict[str, Any]] = (await events(http, **members))[-1]["response"]["output"]
        else:
            whole = (await http.post(RESPONSES, json={"input": "Hi"} | members)).json()
            fits(Response, whole, ("store",))
            found = whole["output"]
        return found

    assert not any("encrypted_content" in item for item in await output(background=stream))
    items = await output(**include)
    body = {"input": [{"role": "user", "content": "Hi"}, *items, {"role": "user", "content": "Go on"}]}
    sent = read_response_request(json.dumps(body).encode()).request.input
    assert [each.message.parts[0].reasoning for each in sent[1:3]] == [THOUGHT, HIDDEN]
    assert sent[3].message == model.Message(role=model.ROLE_ASSISTANT, content="Hello")
    if stream:
        path = f"{RESPONSES}/resp_{2:032x}"
        queries = ["", "?include[]=message.output_text.logprobs&include[]=reasoning.encrypted_content&include[]=x"]
        for query, expected in zip(queries, [False, True], strict=True):
            stored = (await http.get(path + query)).json()["output"]
            assert ("encrypted_content" in stored[0]) is expected
            more = "&" if query else "?"
            watched = (await http.get(f"{path}{query}{more}stream=true")).text
            assert ("encrypted_content" in watched) is expected


ITEM: dict[str, Any] = {"type": "reasoning", "summary": []}


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        (ITEM, None),
        (ITEM | {"id": "r" * 129}, None),
        (ITEM | {"summary": [{"type": "summary_text", "text": "a"}, {"type": "summary_text", "text": "b"}]}, "a\n\nb"),
        (ITEM | {"content": [{"type": "reasoning_text", "text": "a"}, {"type": "reasoning_text", "text": "b"}]}, "ab"),
        (ITEM | {"id": None, "status": None, "content": None, "encrypted_content": None}, None),
    ],
)
def test_a_thought_of_another_server_is_read(item: dict[str, Any], expected: str | None) -> None:
    sent = read_response_request(json.dumps({"input": [item, {"role": "user", "content": "Hi"}]}).encode()).request
    thoughts = [part.reasoning for each in sent.input for part in each.message.parts]
    assert thoughts == ([] if expected is None else [Reasoning(text=expected)])


@pytest.mark.parametrize("text", ["Let me see.", ""])
def test_a_thought_without_its_encrypted_content_is_sent_with_its_id(text: str) -> None:
    item = ITEM | {"id": "rs_7_0", "summary": [{"type": "summary_text", "text": text}] if text else []}
    sent = read_response_request(json.dumps({"input": [item, ITEM | {"encrypted_content": "A", "id": "x"}]}).encode())
    thought = model.Message(role=model.ROLE_ASSISTANT, parts=[model.Part(reasoning=Reasoning(text=text))])
    assert sent.request.input[0] == pb.ResponseInput(message=thought, repeated_item_id="rs_7_0")
    assert not sent.request.input[1].repeated_item_id


def test_encrypted_content_of_openai_is_a_thought_that_only_the_provider_can_read() -> None:
    sent = read_response_request(json.dumps({"input": [ITEM | {"encrypted_content": "gAAAAB"}]}).encode()).request
    assert sent.input[0].message.parts[0].reasoning == Reasoning(redacted="gAAAAB")


@pytest.mark.parametrize("damaged", ["soma1.A", "soma1.!!!!", "soma1." + b64encode(b"\xff\xff\xff").decode()])
def test_encrypted_content_that_was_changed_is_refused_by_name(damaged: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        read_response_request(json.dumps({"input": [ITEM | {"encrypted_content": damaged}]}).encode())
    assert caught.value.facts.violations[0].field == "input[0].encrypted_content"


async def test_input_items_have_thoughts_and_signatures(http: httpx.AsyncClient, stand: Stand) -> None:
    await http.post(RESPONSES, json={"input": "Hi"})
    call = model.ToolCall(call_id="c1", name="look", arguments="{}", signature="thought-sig")
    messages = [
        model.Message(role=model.ROLE_ASSISTANT, parts=[model.Part(reasoning=THOUGHT)]),
        model.Message(role=model.ROLE_ASSISTANT, tool_calls=[call]),
    ]
    items = [pb.ResponseInputItem(item_id=f"item_{index}", message=each) for index, each in enumerate(messages)]
    stand.responses.kept[RESPONSE_ID].inputs = items
    path = f"{RESPONSES}/{RESPONSE_ID}/input_items?order=asc"
    told, called = (await http.get(path)).json()["data"]
    assert told == {
        "id": "item_0",
        "type": "reasoning",
        "status": "completed",
        "summary": [{"type": "summary_text", "text": "Let me see."}],
    }
    assert called["extra_content"] == EXTRA
    [encrypted, _] = (await http.get(f"{path}&include=reasoning.encrypted_content")).json()["data"]
    sent = read_response_request(json.dumps({"input": [encrypted, called]}).encode()).request.input
    assert sent[0].message.parts[0].reasoning == THOUGHT
    assert sent[1].message.tool_calls == [call]
