"""The token limit and the stop sequences of the local models."""

from hypothesis import given
from hypothesis import strategies as st
from soma.model.v1.message_pb2 import FINISH_REASON_LENGTH, FINISH_REASON_STOP

from services.model.adapters.writing import Writer

_TOKENS = st.lists(st.text("ab.", min_size=1, max_size=3), max_size=20)
_STOPS = st.lists(st.text("ab.", min_size=1, max_size=4), max_size=3)


@given(tokens=_TOKENS, stops=_STOPS, limit=st.none() | st.integers(1, 25))
def test_output_ends_before_the_first_stop_sequence_and_at_the_limit(
    tokens: list[str], stops: list[str], limit: int | None
) -> None:
    writer = Writer(limit, stops)
    released: list[str] = []
    for token in tokens:
        released.append(writer.write(token))
        if writer.reason is not None:
            break
    rest, reason = writer.end()
    released.append(rest)
    text = "".join(released)
    whole = "".join(tokens[: writer.written])
    assert limit is None or writer.written <= limit
    assert not any(stop in text for stop in stops)
    cuts = [at for stop in stops if (at := whole.find(stop)) >= 0]
    assert text == (whole[: min(cuts)] if cuts else whole)
    assert bool(writer.stop) is bool(cuts)
    assert not cuts or whole[min(cuts) :].startswith(writer.stop)
    limited = not cuts and writer.written == limit
    assert reason == (FINISH_REASON_LENGTH if limited else FINISH_REASON_STOP)
