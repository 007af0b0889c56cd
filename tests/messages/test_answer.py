"""Pieces of an answer, joined to a larger piece or to a message."""

from soma.model.v1.message_pb2 import (
    ROLE_ASSISTANT,
    Citation,
    Delta,
    Message,
    Part,
    Reasoning,
    ReasoningDelta,
    Text,
    TokenLogprob,
    ToolCall,
    ToolCallDelta,
)

from services.messages.answer import Answer, joined

CALL = ToolCall(call_id="c1", name="f", arguments='{"a":1}', signature="s")
PIECES = [
    Delta(reasoning=[ReasoningDelta(index=0, text="Let ")]),
    Delta(reasoning=[ReasoningDelta(index=0, text="me see."), ReasoningDelta(index=1, redacted="xx")]),
    Delta(reasoning=[ReasoningDelta(index=0, signature="sig")]),
    Delta(text="It is ", logprobs=[TokenLogprob(token="It is ", logprob=-1)]),
    Delta(text="so.", citations=[Citation(url="u")]),
    Delta(tool_calls=[ToolCallDelta(index=0, call_id="c1", name="f", arguments='{"a"', signature="s")]),
    Delta(tool_calls=[ToolCallDelta(index=0, arguments=":1}")]),
]


def answer_of(*pieces: Delta) -> Answer:
    answer = Answer()
    for piece in pieces:
        answer.add(piece)
    return answer


def test_a_message_has_thoughts_text_and_calls() -> None:
    assert answer_of(*PIECES).message("p") == Message(
        role=ROLE_ASSISTANT,
        parts=[
            Part(reasoning=Reasoning(text="Let me see.", signature="sig", provider="p")),
            Part(reasoning=Reasoning(redacted="xx", provider="p")),
            Part(text=Text(text="It is so.", citations=[Citation(url="u")])),
        ],
        tool_calls=[CALL],
    )


def test_an_answer_of_text_alone_has_no_parts() -> None:
    assert answer_of(Delta(text="a"), Delta(text="b")).message("p") == Message(role=ROLE_ASSISTANT, content="ab")


def test_thoughts_alone_are_no_message() -> None:
    assert answer_of(*PIECES[:3]).message("p") is None
    assert answer_of().message("p") is None


def test_a_joined_piece_makes_the_same_message() -> None:
    whole = joined(PIECES)
    assert answer_of(whole).message("p") == answer_of(*PIECES).message("p")
    assert len(whole.logprobs) == 1


def test_neighbouring_pieces_of_a_thought_or_a_call_become_one() -> None:
    whole = joined([*PIECES[:1], Delta(reasoning=[ReasoningDelta(index=0, text="me", signature="sig")]), *PIECES[5:]])
    assert list(whole.reasoning) == [ReasoningDelta(index=0, text="Let me", signature="sig")]
    assert list(whole.tool_calls) == [
        ToolCallDelta(index=0, call_id="c1", name="f", arguments='{"a":1}', signature="s"),
    ]


def test_calls_are_in_the_order_of_their_index() -> None:
    answer = answer_of(
        Delta(tool_calls=[ToolCallDelta(index=1, call_id="c2", name="g", arguments="{")]),
        Delta(tool_calls=[ToolCallDelta(index=0, call_id="c1", name="f", arguments="{}")]),
        Delta(tool_calls=[ToolCallDelta(index=1, arguments="}")]),
    )
    assert [call.call_id for call in answer.calls] == ["c1", "c2"]
    assert [call.arguments for call in answer.calls] == ["{}", "{}"]
