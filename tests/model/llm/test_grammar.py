"""Requests with tools and formats as llama.cpp gets them, and tool calls found in what it writes."""

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.model.llm.calls import Call, CallReader, Unconstrained
from services.model.llm.grammar import CLOSE, OPEN, InvalidRequest, constrained

CITY = {"type": "object", "properties": {"city": {"$ref": "#/$defs/city"}}, "$defs": {"city": {"type": "string"}}}
TOOLS = [
    {"type": "function", "function": {"name": "weather", "description": "Of a city.", "parameters": CITY}},
    {"type": "function", "function": {"name": "time"}},
]
ASKED = [{"role": "user", "content": "How is the weather?"}]


def request(**more: Any) -> dict[str, Any]:
    return {"model": "m", "messages": ASKED, **more}


def test_a_request_without_tools_and_format_is_left_as_it_is() -> None:
    assert constrained(request(seed=3)).body == request(seed=3)
    assert constrained(request(tools=[], response_format={"type": "text"})).body == request()


@pytest.mark.parametrize(
    ("choice", "called"),
    [
        ("auto", {"weather", "time"}),
        (None, {"weather", "time"}),
        ("required", {"weather", "time"}),
        ({"type": "function", "function": {"name": "time"}}, {"time"}),
        ("none", set()),
    ],
)
def test_the_choice_says_which_tools_the_model_is_told_of(choice: Any, called: set[str]) -> None:
    own = constrained(request(tools=TOOLS, tool_choice=choice))
    assert own.tools == called
    assert {"tools", "tool_choice"}.isdisjoint(own.body)
    told = own.body["messages"][0]["content"]
    assert all((f'"name": "{name}"' in told) is (name in called) for name in ("weather", "time"))
    assert ("grammar" in own.body) is bool(called)
    # Only a choice that leaves the model free lets it write text.
    assert ("PLAIN" in own.body.get("grammar", "")) is (choice in ("auto", None))


def test_references_in_the_schema_of_a_tool_stay_references_to_its_root() -> None:
    grammar = constrained(request(tools=TOOLS, tool_choice="required")).body["grammar"]
    rule = next(line for line in grammar.splitlines() if line.startswith("arguments0: %json "))
    assert json.loads(rule.partition("%json ")[2])["properties"] == CITY["properties"]


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"tool_choice": "required"}, "there are no tools"),
        (
            {"tools": TOOLS, "tool_choice": {"function": {"name": "colour"}}},
            "names `colour`, and there is no such tool",
        ),
        ({"tools": TOOLS, "tool_choice": "often"}, "tool_choice is auto, none, required"),
        ({"tools": [{"type": "function"}]}, "has no function with a name"),
        (
            {"tools": [{"function": {"name": "f", "parameters": {"type": "odd"}}}]},
            "the schema of the tool `f` is invalid",
        ),
        ({"response_format": {"type": "json_schema", "json_schema": {"schema": {"type": 7}}}}, "of response_format is"),
        ({"response_format": {"type": "yaml"}}, "the type `yaml`"),
        ({"messages": "hello"}, "messages is not an array"),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_name(more: dict[str, Any], why: str) -> None:
    with pytest.raises(InvalidRequest, match=why):
        constrained({**request(), **more})


def test_calls_and_results_of_the_history_are_text_in_turns() -> None:
    call = {"id": "1", "type": "function", "function": {"name": "time", "arguments": '{"zone": "UTC"}'}}
    history = [
        {"role": "system", "content": "Be short."},
        *ASKED,
        {"role": "assistant", "content": None, "tool_calls": [call, call]},
        {"role": "tool", "tool_call_id": "1", "content": "12:00"},
        {"role": "tool", "tool_call_id": "1", "content": [{"type": "text", "text": "13:00"}]},
        {"role": "user", "content": "And now?"},
    ]
    told = constrained({"messages": history, "tools": TOOLS}).body["messages"]
    assert [message["role"] for message in told] == ["system", "user", "assistant", "user"]
    assert told[0]["content"].startswith("Be short.\n\nYou may call functions")
    assert told[2]["content"] == "\n".join([f'{OPEN}{{"name": "time", "arguments": {{"zone": "UTC"}}}}{CLOSE}'] * 2)
    assert told[3]["content"].count("<tool_response>") == 2
    assert told[3]["content"].endswith("And now?")


def called(text: str, cuts: list[int]) -> tuple[str, list[tuple[str, str]]]:
    """The text and the calls of an answer that comes in pieces."""
    reader = CallReader(["time", "weather"])
    places = sorted({cut % (len(text) + 1) for cut in cuts} | {0, len(text)})
    found, calls = "", list[Call]()
    for begin, end in pairwise(places):
        more, some = reader.read(text[begin:end])
        found, calls = found + more, [*calls, *some]
    more, some = reader.end()
    return found + more, [(call.name, call.arguments) for call in (*calls, *some)]


TIME = OPEN + '{"name": "time", "arguments": {"zone": "UTC"}}' + CLOSE


@given(st.lists(st.integers(0, 400), max_size=12))
def test_calls_are_found_however_the_text_is_cut(cuts: list[int]) -> None:
    assert called(f"I look. {TIME}\n{TIME}", cuts) == ("I look. ", [("time", '{"zone": "UTC"}')] * 2)
    assert called("2 < 3, <b>, <tool_cal and < at the end <", cuts) == ("2 < 3, <b>, <tool_cal and < at the end <", [])
    assert called(TIME[: len(OPEN) + 34], cuts) == ("", [("time", '{"zo')])
    assert called(TIME[:20], cuts) == ("", [])


@pytest.mark.parametrize(
    "call", ["no JSON", '{"name": "time"}', '{"name": "rm", "arguments": {}}', '{"name": "time", "arguments": 1}']
)
def test_a_call_that_is_none_is_no_answer(call: str) -> None:
    with pytest.raises(Unconstrained):
        CallReader(["time"]).read(f"{OPEN}{call}{CLOSE}")
