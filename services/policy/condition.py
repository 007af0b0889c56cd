"""Conditions of rules on the facts of a question: a fact, given by its path, must have one of several values."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

Scalar: TypeAlias = str | bool | float
# Nested objects of JSON.
Facts: TypeAlias = Mapping[str, Any]

# Larger integers are not exact in JSON's doubles.
_LARGEST = 2**53


@dataclass(frozen=True, slots=True)
class Condition:
    """The fact at `path` has one of `values`. `true` is not equal to 1, and a missing fact has no value."""

    path: tuple[str, ...]
    values: frozenset[tuple[type, Scalar]]

    def holds(self, facts: Facts) -> bool:
        """Whether the facts meet the condition."""
        found: Any = facts
        for name in self.path:
            if not isinstance(found, Mapping) or name not in found:
                return False
            found = found[name]
        return _typed(found) in self.values


def conditions(table: Mapping[str, Any], within: tuple[str, ...] = ()) -> Iterator[Condition]:
    """The conditions of a `when` table: paths (`user.tier`, quoted or as tables), each with one value or a list.

    Raises:
        ValueError: a path or a value is not valid; the message names it.
    """
    for key, value in table.items():
        path = (*within, *key.split("."))
        if not all(path):
            raise ValueError(f"`when.{key}` has an empty name in its path")
        if isinstance(value, Mapping):
            yield from conditions(value, path)
            continue
        values = value if isinstance(value, list) else [value]
        typed = [_typed(each) for each in values]
        if not typed or None in typed:
            what = "a text, a number, true or false, or a list of these"
            raise ValueError(f"`when.{'.'.join(path)}` is {what}; numbers are at most 2^53, and finite")
        yield Condition(path, frozenset(each for each in typed if each is not None))


def _typed(value: Any) -> tuple[type, Scalar] | None:
    """A value with its type, because `True` equals 1 in Python; None for a value that is not a scalar."""
    if isinstance(value, bool | str):
        return type(value), value
    if isinstance(value, int | float) and math.isfinite(value) and abs(value) <= _LARGEST:
        return float, float(value)
    return None
