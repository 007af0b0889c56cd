"""Parameters that the contract has no field for reach the provider as they were sent, and those it has do not."""

import json
from typing import Any

import pytest
from soma.model.v1.options_pb2 import GenerationOptions, ReasoningOptions, Sampling

from gateway.edge.openai.chat_request import read_chat_request
from gateway.edge.openai.failures import openai_name
from gateway.edge.openai.response_request import read_response_request
from services.mesh.call.errors import InvalidArgument

HI = [{"role": "user", "content": "Hi"}]


def chat(**members: Any) -> GenerationOptions:
    return read_chat_request(json.dumps({"messages": HI} | members).encode()).request.options


def response(**members: Any) -> GenerationOptions:
    return read_response_request(json.dumps({"input": "Hi"} | members).encode()).request.settings.options


SENT: list[dict[str, Any]] = [
    {"min_p": 0.1},
    {"chat_template_kwargs": {"enable_thinking": False}},
    {"guided_json": {"type": "object"}, "num_ctx": 4096},
    {"store": True},
    {"store": True, "metadata": {"a": "b"}},
    {"service_tier": "flex"},
    {"verbosity": "low"},
    {"logit_bias": {"50256": -100}},
    {"prediction": {"type": "content", "content": "Hello"}},
    # An empty object asks for a search too.
    {"web_search_options": {}},
    {"thinking": {"type": "disabled"}},
    {"thinking": {"type": "adaptive", "display": "summarized"}},
    {"colour": [1, None, "ö", 1.5, True]},
]


@pytest.mark.parametrize("members", SENT)
def test_other_parameters_of_a_chat_reach_the_provider_as_they_are(members: dict[str, Any]) -> None:
    assert json.loads(chat(**members).provider_params) == members


@pytest.mark.parametrize(
    ("members", "sent"),
    [
        ({"chat_template_kwargs": {"a": 1}, "min_p": 0.1}, {"chat_template_kwargs": {"a": 1}, "min_p": 0.1}),
        ({"text": {"verbosity": "low"}}, {"verbosity": "low"}),
        ({"service_tier": "priority"}, {"service_tier": "priority"}),
    ],
)
def test_other_parameters_of_a_response_reach_the_provider_as_they_are(
    members: dict[str, Any], sent: dict[str, Any]
) -> None:
    assert json.loads(response(**members).provider_params) == sent


@pytest.mark.parametrize(
    "members",
    [
        {"metadata": {"a": "b"}},
        {"prompt_cache_key": "k", "prompt_cache_retention": "24h", "safety_identifier": "s"},
        {"prompt_cache_options": {"mode": "explicit"}},
        {"service_tier": "default"},
        {"min_p": None, "modalities": None, "audio": None},
    ],
)
def test_what_changes_no_answer_is_not_sent(members: dict[str, Any]) -> None:
    assert chat(**members) == chat()
    assert response(**members) == response()


@pytest.mark.parametrize(
    "members",
    [{"store": False}, {"logit_bias": {}}, {"verbosity": "medium"}, {"modalities": ["text"]}, {"functions": []}],
)
def test_values_of_a_chat_without_effect_are_not_sent(members: dict[str, Any]) -> None:
    assert chat(**members) == chat()


@pytest.mark.parametrize(
    "members",
    [
        {"client_metadata": {"x-codex-installation-id": "1"}},
        {"reasoning": {"summary": "auto"}},
        {"include": ["reasoning.encrypted_content", "web_search_call.action.sources"]},
        {"max_tool_calls": 3},
        {"truncation": "disabled"},
        {"text": {"verbosity": "medium"}},
    ],
)
def test_values_of_a_response_without_effect_are_not_sent(members: dict[str, Any]) -> None:
    assert response(**members) == response()


@pytest.mark.parametrize("read", [chat, response])
def test_parameters_that_the_contract_has_a_field_for_become_that_field(read: Any) -> None:
    options = read(top_k=40, repetition_penalty=1.1)
    assert options.sampling == Sampling(top_k=40, repetition_penalty=1.1)
    assert options.provider_params == ""
    assert [read(top_k=off).HasField("sampling") for off in (0, -1)] == [False, False]


THINKING: list[tuple[dict[str, Any], ReasoningOptions]] = [
    ({"reasoning_effort": "high"}, ReasoningOptions(effort="high")),
    ({"reasoning": {"effort": "low"}}, ReasoningOptions(effort="low")),
    ({"reasoning": {"max_tokens": 2000}}, ReasoningOptions(budget_tokens=2000)),
    ({"reasoning": {"enabled": True}}, ReasoningOptions(effort="medium")),
    ({"reasoning": {"enabled": True, "max_tokens": 100}}, ReasoningOptions(budget_tokens=100)),
    ({"reasoning": {"enabled": False}}, ReasoningOptions(effort="none")),
    ({"reasoning": {"effort": "low"}, "reasoning_effort": "low"}, ReasoningOptions(effort="low")),
    ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, ReasoningOptions(budget_tokens=1024)),
]


@pytest.mark.parametrize(("members", "expected"), THINKING)
def test_how_much_a_model_thinks_is_one_setting_in_every_form(
    members: dict[str, Any], expected: ReasoningOptions
) -> None:
    options = chat(**members)
    assert options.reasoning == expected
    assert options.provider_params == ""


def test_a_response_may_have_a_budget_of_thoughts() -> None:
    options = response(reasoning={"effort": "low", "max_tokens": 2000, "summary": "auto"})
    assert options.reasoning == ReasoningOptions(effort="low", budget_tokens=2000)


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"reasoning": {"effort": "low"}, "reasoning_effort": "high"}, "reasoning.effort"),
        ({"reasoning": {"enabled": False, "effort": "high"}}, "reasoning.enabled"),
        (
            {"reasoning": {"max_tokens": 1}, "thinking": {"type": "enabled", "budget_tokens": 2}},
            "thinking.budget_tokens",
        ),
        ({"reasoning": {"summary": "auto"}}, "reasoning.summary"),
        ({"thinking": {"budget_tokens": 1024}}, "thinking.type"),
        ({"thinking": {"type": "enabled", "budget_tokens": 0}}, "thinking.budget_tokens"),
        ({"top_k": 1001}, "top_k"),
        ({"repetition_penalty": 2.5}, "repetition_penalty"),
    ],
)
def test_a_wrong_setting_is_refused_by_name(members: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        chat(**members)
    assert caught.value.facts.violations[0].field == param


CACHED = {"type": "ephemeral"}
MARK = '{"cache_control":{"type":"ephemeral"}}'


def test_members_of_messages_parts_and_tools_that_providers_have_go_with_them() -> None:
    function = {"name": "look", "parameters": {"type": "object"}}
    tools = [
        {"type": "function", "function": function, "cache_control": CACHED},
        {"type": "function", "function": function | {"cache_control": CACHED}},
        {"type": "function", "function": function, "cache_control": None},
    ]
    messages = [
        {"role": "system", "content": [{"type": "text", "text": "Be kind.", "cache_control": CACHED}]},
        {"role": "user", "content": "Hi", "cache_control": CACHED},
        {"role": "assistant", "content": "He", "prefix": True, "partial": None},
    ]
    asked = read_chat_request(json.dumps({"messages": messages, "tools": tools}).encode()).request
    assert [tool.provider_params for tool in asked.options.tools] == [MARK, MARK, ""]
    [part] = asked.messages[0].parts
    assert (part.text.text, part.provider_params) == ("Be kind.", MARK)
    assert [each.provider_params for each in asked.messages] == ["", MARK, '{"prefix":true}']
    assert asked.messages[1].content == "Hi"
    [tool] = response(tools=[{"type": "function", **function, "cache_control": CACHED}]).tools
    assert tool.provider_params == MARK


def deep() -> Any:
    value: Any = {}
    for _ in range(400):
        value = {"a": value}
    return value


@pytest.mark.parametrize(
    ("members", "param"),
    [
        (lambda: {"chat_template_kwargs": deep()}, "chat_template_kwargs"),
        (lambda: {"messages": [{"role": "user", "content": "", "cache_control": deep()}]}, "messages[0]"),
        (
            lambda: {"messages": [{"role": "user", "content": [{"type": "text", "text": "", "citations": deep()}]}]},
            "messages[0].content[0]",
        ),
        (
            lambda: {
                "messages": [{"role": "assistant", "reasoning_details": [{"type": "reasoning.text", "x": deep()}]}]
            },
            "messages[0].reasoning_details",
        ),
        (
            lambda: {"tools": [{"type": "function", "function": {"name": "f"}, "cache_control": deep()}]},
            "tools[0]",
        ),
    ],
)
def test_a_member_that_is_nested_too_deeply_is_refused_by_name(members: Any, param: str) -> None:
    with pytest.raises(InvalidArgument, match="nested too deeply") as caught:
        chat(**members())
    assert caught.value.facts.violations[0].field == param


@pytest.mark.parametrize(
    ("field", "name"),
    [
        ("options.sampling.seed", "seed"),
        ("settings.options.sampling.top_p", "top_p"),
        ("options.reasoning.effort", "reasoning_effort"),
        ("provider_params.min_p", "min_p"),
        ("options.provider_params.chat_template_kwargs", "chat_template_kwargs"),
        ("options.user", "user"),
    ],
)
def test_a_field_of_the_contract_is_named_as_the_client_named_it(field: str, name: str) -> None:
    assert openai_name(field) == name
