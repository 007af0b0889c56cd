"""Requests of Anthropic's protocol become requests of the contract."""

import json
from base64 import b64encode
from typing import Any

import httpx
import pytest
from google.protobuf.json_format import MessageToDict
from soma.model.v1.message_pb2 import ROLE_ASSISTANT, ROLE_SYSTEM, ROLE_TOOL, ROLE_USER, Message
from soma.model.v1.options_pb2 import GenerationOptions, ToolChoice
from soma.orchestrator.v1.chat_service_pb2 import ChatRequest

from gateway.edge.anthropic.request import read_message_request
from gateway.edge.anthropic.thoughts import PURPOSE, Thoughts
from services.mesh.call.errors import InvalidArgument
from services.mesh.call.seal import Seal
from services.mesh.testing.local import INTERNAL_KEY
from tests.gateway.edge.conftest import Stand

HI: dict[str, Any] = {"model": "plain", "max_tokens": 64, "messages": [{"role": "user", "content": "Hi"}]}
LOOK = {"name": "look", "description": "Looks.", "input_schema": {"type": "object"}}
MARK = {"type": "ephemeral", "ttl": "1h"}
THOUGHTS = Thoughts(Seal(INTERNAL_KEY, PURPOSE))


def read(beta: str | None = None, **members: Any) -> ChatRequest:
    return read_message_request(json.dumps(HI | members).encode(), beta, THOUGHTS).request


def options(beta: str | None = None, **members: Any) -> GenerationOptions:
    return read(beta, **members).options


def native(found: GenerationOptions) -> dict[str, Any]:
    assert found.native.protocol == "anthropic"
    given: dict[str, Any] = json.loads(found.native.params)
    return given


def turns(*messages: dict[str, Any], **members: Any) -> list[Message]:
    return list(read(messages=list(messages), **members).messages)


def test_the_sampling_is_that_of_the_contract() -> None:
    found = options(temperature=0.5, top_p=0.25, top_k=5, stop_sequences=["END"], stream=True)
    assert MessageToDict(found.sampling, preserving_proto_field_name=True) == {
        "max_tokens": 64,
        "temperature": 0.5,
        "top_p": 0.25,
        "top_k": 5,
        "stop_sequences": ["END"],
    }
    assert not found.whole
    assert options().whole


@pytest.mark.parametrize(
    ("choice", "mode", "parallel"),
    [
        ({"type": "auto"}, ToolChoice.MODE_AUTO, None),
        ({"type": "any", "disable_parallel_tool_use": True}, ToolChoice.MODE_REQUIRED, False),
        ({"type": "none"}, ToolChoice.MODE_NONE, None),
        ({"type": "tool", "name": "look", "disable_parallel_tool_use": False}, ToolChoice.MODE_NAMED, True),
    ],
)
def test_the_choice_of_tools(choice: dict[str, Any], mode: ToolChoice.Mode.ValueType, parallel: bool | None) -> None:
    found = options(tools=[LOOK], tool_choice=choice)
    assert found.tool_choice.mode == mode
    assert found.tool_choice.name == choice.get("name", "")
    assert (found.parallel_tool_calls if found.HasField("parallel_tool_calls") else None) == parallel


def test_tools_keep_what_the_contract_has_no_field_for() -> None:
    search = {"type": "web_search_20250305", "name": "web_search", "max_uses": 3}
    tools = [{**LOOK, "type": "custom", "cache_control": MARK, "strict": True}, search, {"type": "browser_20260801"}]
    first, second, third = options(tools=tools).tools
    assert (first.name, first.description, json.loads(first.parameters), first.strict) == (
        "look",
        "Looks.",
        {"type": "object"},
        True,
    )
    assert json.loads(first.provider_params) == {"type": "custom", "cache_control": MARK}
    assert (second.name, json.loads(second.provider_params)) == (
        "web_search",
        {"type": "web_search_20250305", "max_uses": 3},
    )
    assert third.name == "browser_20260801"


def test_what_is_advice_reaches_only_a_provider_of_this_protocol() -> None:
    advice = {
        "metadata": {"user_id": "u"},
        "cache_control": MARK,
        "context_management": {"edits": []},
        "service_tier": "standard_only",
        "thinking": {"type": "adaptive", "display": "summarized"},
        "output_config": {"effort": "high"},
    }
    header = "interleaved-thinking-2025-05-14, context-1m-2025-08-07"
    found = options(header, betas=["context-1m-2025-08-07"], **advice)
    assert native(found) == {
        **advice,
        "betas": ["context-1m-2025-08-07", "interleaved-thinking-2025-05-14"],
    }
    assert found.provider_params == ""
    assert found.reasoning.effort == "high"


def test_other_parameters_must_be_obeyed_by_every_provider() -> None:
    found = options(inference_geo="eu", mcp_servers=[{"name": "a"}], metadata={"user_id": "u"})
    assert json.loads(found.provider_params) == {"inference_geo": "eu", "mcp_servers": [{"name": "a"}]}
    assert native(found) == {"inference_geo": "eu", "mcp_servers": [{"name": "a"}], "metadata": {"user_id": "u"}}


@pytest.mark.parametrize(("budget", "effort"), [(1024, "low"), (4096, "medium"), (31_999, "high")])
def test_a_limit_of_thoughts_is_an_effort_for_other_providers(budget: int, effort: str) -> None:
    found = options(thinking={"type": "enabled", "budget_tokens": budget})
    assert found.reasoning.effort == effort
    assert native(found)["thinking"] == {"type": "enabled", "budget_tokens": budget}


@pytest.mark.parametrize("thinking", [None, {"type": "disabled"}, {"type": "adaptive"}])
def test_a_model_that_decides_itself_gets_no_effort(thinking: dict[str, Any] | None) -> None:
    assert not options(thinking=thinking).HasField("reasoning")


def test_a_format_is_the_contracts() -> None:
    form = {"type": "json_schema", "schema": {"type": "object"}}
    for members in ({"output_config": {"format": form}}, {"output_format": form}):
        found = options(**members).response_format
        assert json.loads(found.schema) == {"type": "object"}
        assert found.strict


def test_a_beta_that_is_no_name_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="anthropic-beta: 'a b' is not the name of a beta"):
        options("a b")


def test_a_system_text_is_the_first_message_and_keeps_its_marks() -> None:
    (system, _) = turns({"role": "user", "content": "Hi"}, system="Be brief.")
    assert (system.role, system.content) == (ROLE_SYSTEM, "Be brief.")
    blocks = [{"type": "text", "text": "Be brief."}, {"type": "text", "text": "Be kind.", "cache_control": MARK}]
    (system, _) = turns({"role": "user", "content": "Hi"}, system=blocks)
    assert [part.text.text for part in system.parts] == ["Be brief.", "Be kind."]
    assert json.loads(system.parts[1].provider_params) == {"cache_control": MARK}
    (_, later) = turns({"role": "user", "content": "Hi"}, {"role": "system", "content": "Now in verse."})
    assert (later.role, later.content) == (ROLE_SYSTEM, "Now in verse.")


def test_results_of_tools_are_messages_and_what_is_between_them_is_the_users() -> None:
    picture = {"type": "image", "source": {"type": "url", "url": "https://a.example/a.png"}}
    content = [
        {"type": "tool_result", "tool_use_id": "a", "content": "sun", "cache_control": MARK},
        {"type": "tool_result", "tool_use_id": "b", "is_error": True, "content": [{"type": "text", "text": "no"}]},
        {"type": "tool_result", "tool_use_id": "c", "content": [{"type": "text", "text": "see"}, picture]},
        {"type": "tool_result", "tool_use_id": "d"},
        {"type": "text", "text": "And now?"},
    ]
    first, second, third, fourth, last = turns({"role": "user", "content": content})
    assert [each.role for each in (first, second, third, fourth)] == [ROLE_TOOL] * 4
    assert [each.tool_call_id for each in (first, second, third, fourth)] == ["a", "b", "c", "d"]
    assert (first.content, json.loads(first.provider_params)) == ("sun", {"cache_control": MARK})
    assert (second.content, json.loads(second.provider_params)) == ("no", {"is_error": True})
    assert [part.WhichOneof("part") for part in third.parts] == ["text", "image"]
    assert (last.role, last.content) == (ROLE_USER, "And now?")


def test_a_turn_of_the_model_has_its_texts_thoughts_and_calls() -> None:
    content = [
        {"type": "thinking", "thinking": "Hm.", "signature": "sig"},
        {"type": "text", "text": "I look.", "citations": None, "parsed_output": None},
        {"type": "tool_use", "id": "a", "name": "look", "input": {"x": 1}, "caller": {"type": "direct"}},
        {"type": "redacted_thinking", "data": "AAAA"},
        {"type": "tool_use", "id": "b", "name": "look", "input": {}, "cache_control": MARK},
    ]
    (message,) = turns({"role": "assistant", "content": content})
    assert message.role == ROLE_ASSISTANT
    assert [part.WhichOneof("part") for part in message.parts] == ["reasoning", "text", "reasoning"]
    first, second = message.parts[0].reasoning, message.parts[2].reasoning
    assert (first.text, first.signature, first.details) == ("Hm.", "sig", "")
    assert (second.redacted, json.loads(second.details)) == ("AAAA", {"after_characters": 7, "after_calls": 1})
    assert [(call.call_id, json.loads(call.arguments)) for call in message.tool_calls] == [("a", {"x": 1}), ("b", {})]
    assert json.loads(message.provider_params) == {"cache_control": MARK}


def test_geminis_signature_of_a_call_comes_back() -> None:
    extra = {"google": {"thought_signature": "sig"}}
    call = {"type": "tool_use", "id": "a", "name": "look", "input": {}, "extra_content": extra}
    (message,) = turns({"role": "assistant", "content": [call]})
    assert message.tool_calls[0].signature == "sig"


PDF = {"type": "base64", "media_type": "application/pdf", "data": b64encode(b"%PDF-").decode()}


@pytest.mark.parametrize(
    ("block", "kind", "expected"),
    [
        ({"type": "image", "source": {"type": "url", "url": "https://a.example/a"}}, "image", {"url": "https://a.example/a"}),
        ({"type": "image", "source": {"type": "file", "file_id": "file_1"}}, "image", {"file_id": "file_1"}),
        ({"type": "document", "source": PDF, "title": "T"}, "file", {"media_type": "application/pdf", "name": "T"}),
        (
            {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "tea"}},
            "file",
            {"media_type": "text/plain", "data": "dGVh"},
        ),
        (
            {"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": "tea"}]}},
            "file",
            {"media_type": "text/plain", "data": "dGVh"},
        ),
    ],
)  # fmt: skip
def test_pictures_and_documents(block: dict[str, Any], kind: str, expected: dict[str, Any]) -> None:
    (message,) = turns({"role": "user", "content": [block, {"type": "text", "text": "What is it?"}]})
    media = MessageToDict(message.parts[0], preserving_proto_field_name=True)[kind]
    assert media == expected


def test_a_document_keeps_what_the_provider_reads_of_it() -> None:
    own = {"title": "T", "context": "C", "citations": {"enabled": True}, "cache_control": MARK}
    block = {"type": "document", "source": {"type": "url", "url": "https://a.example/a.pdf"}, **own}
    (message,) = turns({"role": "user", "content": [block]})
    assert json.loads(message.parts[0].provider_params) == own


async def test_the_bytes_of_a_picture_are_held_while_it_is_answered(http: httpx.AsyncClient, stand: Stand) -> None:
    source = {"type": "base64", "media_type": "image/png", "data": b64encode(b"picture").decode()}
    content = [{"type": "image", "source": source}]
    answer = await http.post("/v1/messages", json=HI | {"messages": [{"role": "user", "content": content}]})
    assert answer.status_code == 200
    (part,) = stand.chat.requests[-1].messages[0].parts
    assert len(part.image.hash) == 64
    broken = {"type": "base64", "media_type": "image/png", "data": "???"}
    content = [{"type": "image", "source": broken}]
    answer = await http.post("/v1/messages", json=HI | {"messages": [{"role": "user", "content": content}]})
    assert answer.status_code == 400
    assert "messages.0.content.0.source.data" in answer.json()["error"]["message"]


@pytest.mark.parametrize("estimated", [False, True])
async def test_tokens_are_counted_with_tools_and_system(http: httpx.AsyncClient, stand: Stand, estimated: bool) -> None:
    stand.embedder.estimates = estimated
    body = {"model": "plain", "messages": HI["messages"], "system": "Be brief.", "tools": [LOOK]}
    answer = await http.post("/v1/messages/count_tokens", json=body, headers={"anthropic-beta": "context-1m"})
    assert answer.json() == {"input_tokens": 2} | ({"estimated": True} if estimated else {})
    (request,) = stand.embedder.counted
    assert (request.model, [tool.name for tool in request.options.tools]) == ("plain", ["look"])
    assert native(request.options) == {"betas": ["context-1m"]}
