"""The window: the newest turns that fit, in order, with tool calls and results together."""

from hypothesis import given
from hypothesis import strategies as st

from services.memory.window import Turn, estimate, newest


def turns(*specification: str) -> list[Turn]:
    """Turns of ten tokens: `said`, `calls:a,b`, `result:a`."""
    made: list[Turn] = []
    for sequence, one in enumerate(specification, start=1):
        kind, _, ids = one.partition(":")
        made.append(
            Turn(
                sequence,
                10,
                frozenset(ids.split(",")) if kind == "calls" else frozenset(),
                ids if kind == "result" else None,
            )
        )
    return made


def sequences(window: list[Turn]) -> list[int]:
    return [turn.sequence for turn in window]


def test_the_newest_turns_that_fit_stay_in_order() -> None:
    assert sequences(newest(turns("said", "said", "said", "said"), 30)) == [2, 3, 4]
    assert newest(turns("said"), 9) == []
    assert newest([], 100) == []


def test_a_tool_call_and_its_results_go_together() -> None:
    conversation = turns("said", "calls:a,b", "result:a", "result:b", "said")
    assert sequences(newest(conversation, 40)) == [2, 3, 4, 5]
    assert sequences(newest(conversation, 39)) == [5]


def test_a_result_without_its_call_is_left_out() -> None:
    assert sequences(newest(turns("result:a", "said"), 100)) == [2]
    assert sequences(newest(turns("calls:a", "result:a", "result:other", "said"), 100)) == [1, 2, 4]


def test_an_incomplete_call_is_left_out_unless_it_is_the_newest_turn() -> None:
    assert sequences(newest(turns("said", "calls:a,b", "result:a", "said"), 100)) == [1, 4]
    assert sequences(newest(turns("said", "calls:a,b", "result:a"), 100)) == [1, 2, 3]


SPECIFICATIONS = st.lists(
    st.sampled_from(["said", "calls:a", "calls:a,b", "result:a", "result:b", "result:c"]), max_size=30
)


@given(SPECIFICATIONS, st.integers(0, 400))
def test_a_window_never_exceeds_its_budget_and_is_always_sendable(specification: list[str], budget: int) -> None:
    conversation = turns(*specification)
    window = newest(conversation, budget)
    assert sum(turn.tokens for turn in window) <= budget
    assert sequences(window) == sorted(sequences(window))
    open_calls: set[str] = set()
    for turn in window:
        if turn.answers is None:
            assert not open_calls
            answerable, open_calls = set(turn.calls), set(turn.calls)
        else:
            assert turn.answers in answerable
            open_calls.discard(turn.answers)
    assert not open_calls or window[-1].sequence == len(conversation)


@given(SPECIFICATIONS, st.integers(0, 400), st.integers(0, 100))
def test_a_larger_budget_keeps_at_least_as_much(specification: list[str], budget: int, more: int) -> None:
    conversation = turns(*specification)
    assert set(newest(conversation, budget)) <= set(newest(conversation, budget + more))


def test_tokens_are_a_quarter_of_the_bytes_and_four_a_message() -> None:
    assert estimate() == 4
    assert estimate("12345678", "1") == 4 + 3
    assert estimate("日本語日") == 4 + 3
