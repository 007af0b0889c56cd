"""A model sees all tools and calls only those that are allowed."""

from typing import Any

import pytest
from soma.errors.v1 import reasons
from soma.model.v1.message_pb2 import ROLE_USER, Delta, Message, ToolCallDelta
from soma.model.v1.model_service_pb2 import GenerateRequest
from soma.model.v1.options_pb2 import GenerationOptions, Tool, ToolChoice

from services.mesh.call.errors import Internal, InvalidArgument
from services.model.adapters.anthropic_request import messages_body
from services.model.adapters.openai_request import chat_body
from services.model.allowed_tools import check_calls, require_known
from services.model.vendor import Chat

TOOLS = [Tool(name=name, parameters='{"type":"object"}') for name in ("look", "ask", "buy")]


def options(*allowed: str, mode: ToolChoice.Mode.ValueType = ToolChoice.MODE_AUTO) -> GenerationOptions:
    return GenerationOptions(tools=TOOLS, tool_choice=ToolChoice(mode=mode, allowed=allowed))


def request(given: GenerationOptions) -> GenerateRequest:
    return GenerateRequest(messages=[Message(role=ROLE_USER, content="Hi")], options=given)


def names(body: dict[str, Any]) -> list[str]:
    return [tool.get("function", tool)["name"] for tool in body["tools"]]


@pytest.mark.parametrize("mode", [ToolChoice.MODE_AUTO, ToolChoice.MODE_REQUIRED])
def test_a_vendor_that_knows_the_choice_gets_it_with_all_tools(mode: ToolChoice.Mode.ValueType) -> None:
    body = chat_body(request(options("look", "buy", mode=mode)), "m", Chat(allowed_tools=True), "openai")
    assert names(body) == ["look", "ask", "buy"]
    tools = [{"type": "function", "function": {"name": name}} for name in ("look", "buy")]
    word = "auto" if mode == ToolChoice.MODE_AUTO else "required"
    assert body["tool_choice"] == {"type": "allowed_tools", "allowed_tools": {"mode": word, "tools": tools}}


def test_any_other_vendor_gets_only_the_tools_that_may_be_called() -> None:
    given = request(options("buy", "look", mode=ToolChoice.MODE_REQUIRED))
    body = chat_body(given, "m", Chat(), "other")
    assert (names(body), body["tool_choice"]) == (["look", "buy"], "required")
    body = messages_body(given, "m", "claude")
    assert (names(body), body["tool_choice"]) == (["look", "buy"], {"type": "any"})
    assert names(chat_body(request(options()), "m", Chat(), "other")) == ["look", "ask", "buy"]


def test_a_call_of_another_tool_is_a_failure_of_the_model() -> None:
    begun = Delta(tool_calls=[ToolCallDelta(name="buy", call_id="c1"), ToolCallDelta(index=1, name="ask")])
    check_calls(options("buy", "ask"), begun, "other")
    # Only the first piece of a call has its name.
    check_calls(options("buy"), Delta(tool_calls=[ToolCallDelta(arguments="{}")]), "other")
    with pytest.raises(Internal, match="`ask`") as failed:
        check_calls(options("buy"), begun, "other")
    assert failed.value.reason == reasons.TOOL_NOT_ALLOWED


@pytest.mark.parametrize(
    "given",
    [
        options("look", "find"),
        options("look", mode=ToolChoice.MODE_NONE),
        options("look", mode=ToolChoice.MODE_NAMED),
    ],
    ids=["an unknown tool", "none", "one by name"],
)
def test_a_choice_that_cannot_be_is_refused_by_name(given: GenerationOptions) -> None:
    with pytest.raises(InvalidArgument) as refused:
        require_known(given)
    assert refused.value.facts.violations[0].field == "options.tool_choice.allowed"
    require_known(options("look", "buy"))
