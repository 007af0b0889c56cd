"""Tool calls in memory are shown to a model only with their results."""

import pytest
from soma.model.v1.message_pb2 import ROLE_ASSISTANT, ROLE_TOOL, ROLE_USER, Message, Part, Reasoning, Text, ToolCall

from services.mesh.call import errors
from services.orchestrator.chat.history import accepted_history, checked_results


def asks(*calls: str, text: str = "") -> Message:
    """An assistant that wants tools called."""
    return Message(
        role=ROLE_ASSISTANT, content=text, tool_calls=[ToolCall(call_id=call, name="look_up") for call in calls]
    )


def result(call: str) -> Message:
    """The result of a call."""
    return Message(role=ROLE_TOOL, tool_call_id=call, content="42")


def says(text: str) -> Message:
    """The user."""
    return Message(role=ROLE_USER, content=text)


def test_calls_whose_results_are_remembered_stay() -> None:
    remembered = [says("how many?"), asks("a"), result("a")]
    assert accepted_history(remembered, [says("thanks")]) == remembered


def test_calls_whose_results_come_now_stay() -> None:
    remembered = [says("how many?"), asks("a", "b")]
    assert accepted_history(remembered, [result("a"), result("b")]) == remembered


def test_calls_without_a_result_are_removed() -> None:
    assert accepted_history([says("how many?"), asks("a")], [says("never mind")]) == [says("how many?")]


def test_the_text_beside_a_call_without_a_result_stays() -> None:
    assert accepted_history([asks("a", text="let me look")], [says("never mind")]) == [
        Message(role=ROLE_ASSISTANT, content="let me look")
    ]


def test_of_several_calls_only_those_with_a_result_stay() -> None:
    assert accepted_history([asks("a", "b")], [result("b")]) == [asks("b")]


def test_a_repeated_result_or_one_without_its_call_is_removed() -> None:
    remembered = [says("how many?"), result("z"), asks("a"), result("a"), result("a"), says("thanks")]
    assert accepted_history(remembered, [says("more")]) == [remembered[0], asks("a"), result("a"), says("thanks")]


def test_an_id_that_is_used_again_is_another_call() -> None:
    remembered = [says("how many?"), asks("call_0"), result("call_0"), asks("call_0")]
    assert accepted_history(remembered, [says("never mind")]) == remembered[:3]
    assert accepted_history(remembered, [result("call_0")]) == remembered


def test_a_call_that_was_stored_twice_is_sent_once() -> None:
    assert accepted_history([asks("a", "a"), result("a")], [says("thanks")]) == [asks("a"), result("a")]


THOUGHT = Part(reasoning=Reasoning(text="hm", signature="s"))


def thinks(*calls: str, text: str = "") -> Message:
    """An assistant that thought first."""
    message = asks(*calls)
    message.parts.append(THOUGHT)
    if text:
        message.parts.append(Part(text=Text(text=text)))
    return message


def test_a_message_with_a_text_part_stays_without_its_calls() -> None:
    assert accepted_history([thinks("a", text="let me look")], [says("never mind")]) == [thinks(text="let me look")]


def test_thoughts_before_given_up_calls_go_with_them() -> None:
    assert accepted_history([says("how many?"), thinks("a")], [says("never mind")]) == [says("how many?")]


def test_new_results_of_remembered_and_of_new_calls_are_accepted() -> None:
    new = [result("a"), asks("b"), result("b")]
    assert checked_results([asks("a")], new, "messages") == new


def test_of_a_new_result_that_came_twice_the_first_is_taken() -> None:
    again = Message(role=ROLE_TOOL, tool_call_id="a", content="43")
    new = [result("a"), again, says("well?")]
    assert checked_results([asks("a")], new, "messages") == [new[0], new[2]]
    assert checked_results([asks("a", "b"), result("a")], [again, result("b")], "messages") == [result("b")]


@pytest.mark.parametrize("remembered", [[], [says("hi")], [asks("b")], [asks("a"), result("a"), asks("b")]])
def test_a_new_result_that_answers_no_call_is_refused(remembered: list[Message]) -> None:
    with pytest.raises(errors.InvalidArgument) as refused:
        checked_results(remembered, [result("a")], "messages")
    assert refused.value.reason == "TOOL_CALL_NOT_FOUND"
    assert refused.value.facts.violations[0].field == "messages"
