"""The limit of messages in a minute."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.edge.ws.allowance import MINUTE, Allowance

# Fractions that add up without rounding.
SECONDS = st.integers(0, 100 * 1024).map(lambda parts: parts / 1024)


@given(steps=st.lists(SECONDS, max_size=60), per_minute=st.integers(1, 10))
def test_a_minute_has_no_more_messages_than_allowed_and_waiting_as_told_is_enough(
    steps: list[float], per_minute: int
) -> None:
    now, allowance = 0.0, Allowance(per_minute, 0.0)
    taken: list[float] = []
    for step in steps:
        now += step
        wait = allowance.take(now)
        assert 0 <= wait <= MINUTE
        if wait:
            assert len([each for each in taken if now - each <= MINUTE]) >= per_minute
            now += wait
            assert allowance.take(now) == 0
        taken.append(now)
    for start in taken:
        assert len([each for each in taken if start <= each < start + MINUTE]) <= 2 * per_minute
