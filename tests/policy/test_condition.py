"""Conditions on facts: paths, lists of values, and values of different types."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.policy.condition import conditions

SCALARS = st.one_of(st.text(), st.booleans(), st.integers(-(2**53), 2**53), st.floats(-1e9, 1e9))


def met(when: dict[str, Any], facts: dict[str, Any]) -> bool:
    """Whether all conditions hold."""
    return all(condition.holds(facts) for condition in conditions(when))


@pytest.mark.parametrize("when", [{"a.b": 1}, {"a": {"b": 1}}, {"a": {"b": [2, 1]}}])
def test_a_path_is_written_with_dots_or_as_tables(when: dict[str, Any]) -> None:
    assert met(when, {"a": {"b": 1.0}})
    assert not met(when, {"a.b": 1})
    assert not met(when, {"a": {"c": 1}})
    assert not met(when, {"a": 1})


@given(SCALARS, SCALARS)
def test_a_value_equals_itself_and_no_value_of_another_type(wanted: Any, found: Any) -> None:
    assert met({"x": wanted}, {"x": wanted})
    assert met({"x": [wanted, found]}, {"x": found})
    same_kind = isinstance(wanted, str) == isinstance(found, str) and isinstance(wanted, bool) == isinstance(
        found, bool
    )
    assert met({"x": wanted}, {"x": found}) == (same_kind and wanted == found)
