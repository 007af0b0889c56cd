"""Tool calls in memory are shown to a model only with their results."""

from soma.model.v1.message_pb2 import ROLE_ASSISTANT, ROLE_TOOL, ROLE_USER, Message, ToolCall

from services.orchestrator.chat.history import accepted_history


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
