"""`/v1/responses` by the specification of Open Responses of 2026: its fields, states and streams, rule by rule."""

import json
from base64 import b64encode
from typing import Any

import httpx
import pytest
from openai import AsyncOpenAI
from soma.model.v1 import message_pb2 as model
from soma.model.v1.options_pb2 import ToolChoice
from soma.orchestrator.v1 import response_service_pb2 as pb

from gateway.edge.openai.response_request import read_response_request
from services.mesh.call.errors import InvalidArgument, Unavailable
from tests.fakes.responses import answered
from tests.gateway.edge.conftest import RESPONSE_ID, Stand

PATH = "/v1/responses"
LOOK: dict[str, Any] = {"type": "function", "name": "look"}
ASK: dict[str, Any] = {"type": "function", "name": "ask"}
NUMBERS = ("temperature", "top_p", "presence_penalty", "frequency_penalty")
PICTURE = "data:image/png;base64," + b64encode(b"the bytes of a picture").decode()


def read(**members: Any) -> pb.CreateResponseRequest:
    return read_response_request(json.dumps({"input": "Hi"} | members).encode()).request


async def ask(http: httpx.AsyncClient, **members: Any) -> dict[str, Any]:
    answer = await http.post(PATH, json={"input": "Hi"} | members)
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


async def streamed(http: httpx.AsyncClient, **members: Any) -> list[tuple[str, str]]:
    """The name and the data of each event of a streamed response."""
    answer = await http.post(PATH, json={"input": "Hi", "stream": True} | members)
    blocks = answer.text.removesuffix("\n\n").split("\n\n")
    lines = [dict(line.split(": ", 1) for line in block.split("\n")) for block in blocks]
    return [(line.get("event", ""), line["data"]) for line in lines]


async def test_every_number_has_a_value_also_if_the_client_gave_none(http: httpx.AsyncClient) -> None:
    told = await ask(http)
    assert [told[name] for name in NUMBERS] == [1, 1, 0, 0]
    given = dict(zip(NUMBERS, (0.25, 0.5, -1.5, 2.0), strict=True))
    assert {name: (await ask(http, **given))[name] for name in NUMBERS} == given


async def test_what_changes_no_answer_is_given_back(http: httpx.AsyncClient, stand: Stand) -> None:
    hints = {"max_tool_calls": 3, "safety_identifier": "user-7", "prompt_cache_key": "shelves"}
    told = await ask(http, **hints, reasoning={"effort": "low", "summary": "concise"}, service_tier="priority")
    assert {name: told[name] for name in hints} == hints
    assert told["reasoning"] == {"effort": "low", "summary": "concise"}
    assert told["service_tier"] == "priority"
    stored = (await http.get(f"{PATH}/{RESPONSE_ID}")).json()
    assert {name: stored[name] for name in hints} == hints
    assert "safety_identifier" not in stand.responses.requests[-1].settings.options.provider_params


async def test_no_input_is_left_out_also_where_a_server_may_do_so(http: httpx.AsyncClient) -> None:
    assert (await ask(http, truncation="auto"))["truncation"] == "disabled"


async def test_a_schema_says_whether_it_is_strict_and_what_it_is_for(http: httpx.AsyncClient) -> None:
    form = {"type": "json_schema", "name": "a", "schema": {"type": "object"}}
    assert (await ask(http, text={"format": form}))["text"]["format"] == form | {"strict": False, "description": None}
    full = form | {"strict": True, "description": "A shelf."}
    assert (await ask(http, text={"format": full}))["text"]["format"] == full


@pytest.mark.parametrize("mode", ["auto", "required"])
async def test_the_allowed_tools_are_a_choice_of_their_own(http: httpx.AsyncClient, mode: str) -> None:
    choice = {"type": "allowed_tools", "mode": mode, "tools": [LOOK]}
    told = await ask(http, tools=[LOOK, ASK], tool_choice=choice)
    assert told["tool_choice"] == choice
    assert [tool["name"] for tool in told["tools"]] == ["look", "ask"]


def test_allowed_tools_without_a_mode_may_be_called_and_with_none_nothing_is() -> None:
    choice = {"type": "allowed_tools", "tools": [LOOK]}
    given = read(tools=[LOOK, ASK], tool_choice=choice).settings.options.tool_choice
    assert given == ToolChoice(mode=ToolChoice.MODE_AUTO, allowed=["look"])
    given = read(tools=[LOOK, ASK], tool_choice=choice | {"mode": "none"}).settings.options.tool_choice
    assert given == ToolChoice(mode=ToolChoice.MODE_NONE)
    with pytest.raises(InvalidArgument) as refused:
        read(tools=[LOOK], tool_choice=choice | {"tools": []})
    assert refused.value.facts.violations[0].field == "tool_choice.tools"


async def test_each_stream_ends_with_a_literal_and_names_its_events_by_their_type(http: httpx.AsyncClient) -> None:
    *events, last = await streamed(http)
    assert last == ("", "[DONE]")
    assert all(name == json.loads(data)["type"] for name, data in events)


async def test_a_failure_in_a_stream_is_an_event_and_then_the_end_of_the_response(
    http: httpx.AsyncClient, stand: Stand
) -> None:
    stand.responses.script = [*answered("Hel")[:3], Unavailable("gone", reason="PROVIDER_UNAVAILABLE")]
    *_, told, failed, last = await streamed(http)
    error = {"type": "server_error", "code": "provider_unavailable", "message": "gone", "param": None}
    assert (told[0], json.loads(told[1])["error"]) == ("error", error)
    response = json.loads(failed[1])["response"]
    assert (failed[0], response["status"], response["completed_at"]) == ("response.failed", "failed", None)
    assert response["error"] == {"code": "server_error", "message": "gone"}
    assert last[1] == "[DONE]"


async def test_a_failed_response_that_is_watched_has_the_same_two_events(http: httpx.AsyncClient, stand: Stand) -> None:
    script = answered("Hel", state=pb.Response.STATE_FAILED)
    script[-1].finished.error.code, script[-1].finished.error.message = 14, "gone"
    stand.responses.reset(script)
    first = await streamed(http, background=True)
    assert [name for name, _ in first[-3:]] == ["error", "response.failed", ""]
    watched = (await http.get(f"{PATH}/{RESPONSE_ID}?stream=true")).text
    assert watched.count("data: ") == len(first)
    assert [json.loads(data)["sequence_number"] for _, data in first[:-1]] == list(range(len(first) - 1))


@pytest.mark.parametrize("stream", [False, True])
async def test_only_the_item_at_which_an_answer_ended_is_incomplete(
    http: httpx.AsyncClient, stand: Stand, stream: bool
) -> None:
    script = answered("Hel", state=pb.Response.STATE_INCOMPLETE)
    script[-1].finished.finish_reason = model.FINISH_REASON_LENGTH
    whole = pb.ResponseItem(item_id="msg_7_1", text=pb.ResponseText(text="Before."))
    script[-1].finished.output.insert(0, whole)
    script[-1].finished.output[1].incomplete = script[-2].item_done.item.incomplete = True
    stand.responses.reset(script)
    if stream:
        events = [json.loads(data) for name, data in await streamed(http) if name]
        assert events[-2]["item"]["status"] == "incomplete"
        output = events[-1]["response"]["output"]
    else:
        output = (await ask(http))["output"]
    assert [item["status"] for item in output] == ["completed", "incomplete"]


async def test_the_phase_of_a_message_goes_in_and_comes_out(http: httpx.AsyncClient, stand: Stand) -> None:
    turns: list[dict[str, Any]] = [
        {"type": "message", "role": "assistant", "phase": "commentary", "content": "I look it up."},
        {"type": "message", "role": "assistant", "phase": "final_answer", "content": "Four."},
        {"type": "message", "role": "assistant", "phase": None, "content": "Well."},
        {"role": "user", "content": "Again."},
    ]
    script = answered("Four.")
    for item in (script[-2].item_done.item, script[-1].finished.output[0]):
        item.text.phase = model.PHASE_FINAL_ANSWER
    stand.responses.reset(script)
    told = await ask(http, input=turns)
    assert told["output"][0]["phase"] == "final_answer"
    phases = [each.message.phase for each in stand.responses.requests[-1].input]
    assert phases == [model.PHASE_COMMENTARY, model.PHASE_FINAL_ANSWER, 0, 0]
    listed = (await http.get(f"{PATH}/{RESPONSE_ID}/input_items?order=asc")).json()["data"]
    assert [item.get("phase") for item in listed] == ["commentary", "final_answer", None, None]


def test_only_an_assistants_message_has_a_phase() -> None:
    for role, phase in (("user", "commentary"), ("assistant", "planning")):
        with pytest.raises(InvalidArgument) as refused:
            read(input=[{"role": role, "content": "Hi", "phase": phase}])
        assert refused.value.facts.violations[0].field == "input[0].phase"


def test_a_reference_needs_no_type() -> None:
    for item in ({"id": "msg_7_0"}, {"type": None, "id": "msg_7_0"}, {"type": "item_reference", "id": "msg_7_0"}):
        assert list(read(input=[item]).input) == [pb.ResponseInput(item_id="msg_7_0")]


async def test_the_lengths_of_pieces_are_hidden_on_request(http: httpx.AsyncClient, stand: Stand) -> None:
    stand.responses.reset(answered("Hello", "", ", world and everything that is in it", "x" * 32))

    async def pieces(**members: Any) -> list[dict[str, Any]]:
        found = [json.loads(data) for name, data in await streamed(http, **members) if name]
        return [each for each in found if each["type"] == "response.output_text.delta"]

    hidden = await pieces(stream_options={"include_obfuscation": True})
    lengths = [len(each["delta"]) + len(each["obfuscation"]) for each in hidden]
    assert [length % 32 for length in lengths] == [0] * 4
    assert hidden[0]["obfuscation"] != (await pieces(stream_options={"include_obfuscation": True}))[0]["obfuscation"]
    for none in ({"include_obfuscation": False}, {}, None):
        assert not any("obfuscation" in each for each in await pieces(stream_options=none))


async def test_pictures_and_documents_go_in(http: httpx.AsyncClient, stand: Stand) -> None:
    content = [
        {"type": "input_text", "text": "What is this?"},
        {"type": "input_image", "image_url": PICTURE, "detail": None},
        {"type": "input_image", "image_url": "https://a.example/b.png", "detail": "low"},
        {"type": "input_file", "filename": "a.txt", "file_data": b64encode(b"text").decode()},
        {"type": "input_file", "file_url": "https://a.example/c.pdf", "filename": None},
    ]
    await ask(http, input=[{"type": "message", "role": "user", "content": content}])
    parts = stand.responses.requests[-1].input[0].message.parts
    assert [part.WhichOneof("part") for part in parts] == ["text", "image", "image", "file", "file"]
    assert [part.image.media_type or part.image.detail for part in parts[1:3]] == ["image/png", "low"]
    assert (parts[3].file.media_type, parts[4].file.url) == ("text/plain", "https://a.example/c.pdf")


async def test_a_compacted_conversation_is_the_input_of_the_next_response(
    openai: AsyncOpenAI, http: httpx.AsyncClient, stand: Stand
) -> None:
    user = {"type": "message", "role": "user", "content": [{"type": "input_image", "image_url": PICTURE}]}
    talk: list[Any] = [user, {"role": "assistant", "content": "A shelf."}]
    body = {"model": "plain", "input": talk, "instructions": "Be brief.", "prompt_cache_key": "a"}
    made = (await http.post(f"{PATH}/compact", json=body)).json()
    (asked,) = stand.responses.compacted
    assert (asked.model, asked.instructions, len(asked.input)) == ("plain", "Be brief.", 2)
    assert (made["id"], made["object"], made["created_at"]) == ("cmpr_7", "response.compaction", 1_700_000_000)
    kept, compaction = made["output"]
    assert (kept["type"], kept["role"], kept["status"]) == ("message", "user", "completed")
    # Nobody keeps the bytes of the request, so the window has them.
    assert kept["content"] == [{"type": "input_image", "detail": "auto", "image_url": PICTURE, "file_id": None}]
    assert compaction == {
        "id": "cmp_7",
        "type": "compaction",
        "encrypted_content": "sealed",
        "created_by": "plain",
        "replaced_items": 2,
    }
    assert made["usage"]["total_tokens"] == 7
    await ask(http, input=[*made["output"], {"role": "user", "content": "And in oak?"}])
    given = stand.responses.requests[-1].input
    assert [each.WhichOneof("input") for each in given] == ["message", "compaction", "message"]
    assert given[1].compaction == "sealed"
    stand.responses.kept[RESPONSE_ID].inputs = [pb.ResponseInputItem(item_id="cmp_1", compaction="sealed")]
    listed = (await http.get(f"{PATH}/{RESPONSE_ID}/input_items")).json()["data"]
    assert listed == [{"id": "cmp_1", "type": "compaction", "encrypted_content": "sealed"}]
    compacted = await openai.responses.compact(model="plain", input=talk, previous_response_id=RESPONSE_ID)
    assert (compacted.object, compacted.output[-1].type) == ("response.compaction", "compaction")
    assert stand.responses.compacted[-1].previous_response_id == RESPONSE_ID


async def test_documents_and_sounds_of_a_compacted_conversation_keep_their_bytes(http: httpx.AsyncClient) -> None:
    data = b64encode(b"text").decode()
    content: list[dict[str, Any]] = [
        {"type": "input_file", "filename": "a.txt", "file_data": f"data:text/plain;base64,{data}"},
        {"type": "input_audio", "input_audio": {"data": data, "format": "mp3"}},
        {"type": "input_file", "file_url": "https://a.example/c.pdf"},
    ]
    body = {"model": "plain", "input": [{"role": "user", "content": content}]}
    made = (await http.post(f"{PATH}/compact", json=body)).json()
    document, sound, page = made["output"][0]["content"]
    assert (document["file_data"], document["filename"]) == (content[0]["file_data"], "a.txt")
    assert sound == content[1]
    assert page["file_url"] == "https://a.example/c.pdf"
    read(input=made["output"])


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"input": "Hi"}, "model"),
        ({"model": None, "input": "Hi"}, "model"),
        ({"model": "plain", "input": 1}, "input"),
        ({"model": "plain", "input": "Hi", "stream": True}, None),
        ({"model": "plain", "input": [{"type": "compaction"}]}, "input[0].encrypted_content"),
    ],
)
async def test_a_request_to_compact_is_refused_by_name(
    http: httpx.AsyncClient, stand: Stand, body: dict[str, Any], param: str | None
) -> None:
    answer = await http.post(f"{PATH}/compact", json=body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
    assert stand.responses.compacted == []
    assert (await http.get(f"{PATH}/compact")).headers["allow"] == "POST"


async def test_the_tokens_of_a_request_are_counted_and_no_response_is_made(
    openai: AsyncOpenAI, http: httpx.AsyncClient, stand: Stand
) -> None:
    body = {"model": "plain", "input": "Hi", "tools": [LOOK], "instructions": "Be brief."}
    counted = (await http.post(f"{PATH}/input_tokens", json=body)).json()
    expected = {"object": "response.input_tokens", "input_tokens": 7, "estimated": True, "model": "plain"}
    assert counted == expected
    asked = stand.responses.counted[-1]
    assert (asked.model, asked.input[0].message.content) == ("plain", "Hi")
    assert (asked.settings.instructions, asked.settings.options.tools[0].name) == ("Be brief.", "look")
    given = await openai.responses.input_tokens.count(model="plain", previous_response_id=RESPONSE_ID)
    assert given.input_tokens == 7
    assert stand.responses.counted[-1].settings.previous_response_id == RESPONSE_ID
    picture = {"role": "user", "content": [{"type": "input_image", "image_url": PICTURE}]}
    await http.post(f"{PATH}/input_tokens", json={"input": [picture]})
    assert len(stand.responses.counted[-1].input[0].message.parts[0].image.hash) == 64
    assert stand.responses.requests == []
    nothing = await http.post(f"{PATH}/input_tokens", json={"model": "plain"})
    assert (nothing.status_code, nothing.json()["error"]["param"]) == (400, "input")
