"""Trace context: a written header can be read again, and a malformed one is ignored."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.mesh.call.trace import Trace, new_trace, parse


@given(st.integers(1, 2**128 - 1), st.integers(1, 2**64 - 1), st.booleans())
def test_a_traceparent_reads_back_as_it_was(trace_id: int, span_id: int, sampled: bool) -> None:
    trace = Trace(trace_id, span_id, sampled)
    assert parse(trace.traceparent) == trace


@pytest.mark.parametrize(
    "header",
    [
        "",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
        "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-extra",
        "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
        "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\n",
    ],
)
def test_a_malformed_traceparent_is_ignored(header: str) -> None:
    assert parse(header) is None


@pytest.mark.parametrize(("ratio", "sampled"), [(0.0, False), (1.0, True)])
def test_the_ratio_decides_what_is_sampled(ratio: float, sampled: bool) -> None:
    assert {new_trace(ratio).sampled for _ in range(100)} == {sampled}
