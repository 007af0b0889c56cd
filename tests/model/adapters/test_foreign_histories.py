"""A conversation with one provider can be continued with another one."""

import re
from typing import Any

from soma.model.v1.message_pb2 import ROLE_ASSISTANT, ROLE_SYSTEM, ROLE_TOOL, ROLE_USER, Message, Source, ToolCall
from soma.model.v1.model_service_pb2 import GenerateRequest

from services.model.adapters.anthropic_request import messages_body
from services.model.adapters.openai_request import chat_body
from services.model.vendor import Chat

CHAT = Chat()
ANTHROPIC_IDS = re.compile(r"^[a-zA-Z0-9_-]{1,64}$")


def user(text: str) -> Message:
    return Message(role=ROLE_USER, content=text)


def asks(*ids: str, text: str = "", arguments: str = "{}") -> Message:
    calls = [ToolCall(call_id=call_id, name="f", arguments=arguments) for call_id in ids]
    return Message(role=ROLE_ASSISTANT, content=text, tool_calls=calls)


def result(call_id: str) -> Message:
    return Message(role=ROLE_TOOL, tool_call_id=call_id, content="42")


def openai(*messages: Message, **more: Any) -> list[dict[str, Any]]:
    sent = chat_body(GenerateRequest(messages=messages, **more), "m", CHAT, "lab")["messages"]
    assert isinstance(sent, list)
    return sent


def anthropic(*messages: Message) -> list[dict[str, Any]]:
    return [
        block
        for turn in messages_body(GenerateRequest(messages=messages), "m")["messages"]
        for block in turn["content"]
    ]


def paired(blocks: list[dict[str, Any]]) -> list[str]:
    """The ids of the calls; checks that each has its result."""
    calls = [block["id"] for block in blocks if block["type"] == "tool_use"]
    assert calls == [block["tool_use_id"] for block in blocks if block["type"] == "tool_result"]
    assert len(set(calls)) == len(calls)
    assert all(ANTHROPIC_IDS.match(call_id) for call_id in calls)
    return calls


def test_instructions_and_memory_are_one_system_message_at_the_beginning() -> None:
    sent = openai(
        Message(role=ROLE_SYSTEM, content="Be brief."),
        user("Hi"),
        Message(role=ROLE_SYSTEM, content="Be kind."),
        Message(role=ROLE_SYSTEM, content=" "),
        user("Well?"),
        sources=[Source(key="pets/dog", text="The dog is called Biscuit.")],
    )
    assert [message["role"] for message in sent] == ["system", "user", "user"]
    first, second, recollection = sent[0]["content"].split("\n\n")
    assert (first, second) == ("Be brief.", "Be kind.")
    assert "Biscuit" in recollection


def test_blank_text_is_not_sent_to_anthropic() -> None:
    blocks = anthropic(user("Hi"), asks("a", text="\n\n"), result("a"), user("  "), user("Well?"))
    assert [block.get("text") for block in blocks if block["type"] == "text"] == ["Hi", "Well?"]


def test_ids_of_calls_are_made_valid_and_still_match_their_results() -> None:
    odd = ("functions.x:0", "functions.x:1", "functions_x_0", "ü", "x" * 200, "")
    blocks = anthropic(user("Hi"), asks(*odd), *map(result, odd))
    assert "functions_x_0" in paired(blocks)
    assert anthropic(user("Hi"), asks(*odd)) == anthropic(user("Hi"), asks(*odd))
    sent = openai(user("Hi"), asks("functions.x:0", "x" * 200), result("functions.x:0"), result("x" * 200))
    ids = [call["id"] for call in sent[1]["tool_calls"]]
    assert ids == [message["tool_call_id"] for message in sent[2:]]
    assert ids[0] == "functions.x:0"
    assert len(ids[1]) <= 40


def test_ids_that_repeat_in_each_turn_stay_different() -> None:
    turns = [user("Hi"), asks("call_0"), result("call_0"), user("Again"), asks("call_0"), result("call_0")]
    assert paired(anthropic(*turns))[0] == "call_0"
    sent = openai(*turns)
    assert sent[1]["tool_calls"][0]["id"] == sent[2]["tool_call_id"] == "call_0"
    assert sent[4]["tool_calls"][0]["id"] == sent[5]["tool_call_id"] != "call_0"


def test_a_conversation_continues_after_arguments_that_are_not_an_object() -> None:
    for arguments, read in (('{"x": 1', '{"x": 1'), ("[1]", [1])):
        (call,) = (b for b in anthropic(user("Hi"), asks("a", arguments=arguments)) if b["type"] == "tool_use")
        assert call["input"] == {"arguments": read}
    sent = openai(user("Hi"), asks("a", arguments='{"x": 1'))
    assert sent[1]["tool_calls"][0]["function"]["arguments"] == '{"arguments":"{\\"x\\": 1"}'
    sent = openai(user("Hi"), asks("a", arguments='{ "x": 1 }'))
    assert sent[1]["tool_calls"][0]["function"]["arguments"] == '{ "x": 1 }'


def test_a_result_without_its_call_becomes_a_message_of_the_user() -> None:
    sent = openai(result("lost"), user("Hi"), asks("a"), result("a"), result("other"), user("Well?"))
    assert [message["role"] for message in sent] == ["user", "user", "assistant", "tool", "user", "user"]
    assert sent[0]["content"] == "The result of the earlier tool call lost:\n42"


def test_of_two_results_of_a_call_the_last_one_is_sent() -> None:
    late = result("a")
    late.content = "43"
    sent = openai(user("Hi"), asks("a"), result("a"), late, user("Well?"))
    assert [message["role"] for message in sent] == ["user", "assistant", "tool", "user"]
    assert sent[2]["content"] == "43"


def test_a_call_without_a_result_gets_one_that_says_so() -> None:
    sent = openai(user("Hi"), asks("a", "b"), result("b"), user("Stop."))
    assert [message["role"] for message in sent] == ["user", "assistant", "tool", "tool", "user"]
    assert {message["tool_call_id"]: message["content"] for message in sent[2:4]} == {
        "b": "42",
        "a": "There is no result of this call.",
    }


def test_a_result_that_came_late_moves_to_its_call() -> None:
    sent = openai(user("Hi"), asks("a"), user("Wait."), result("a"), user("Well?"))
    assert [message["role"] for message in sent] == ["user", "assistant", "tool", "user", "user"]
