"""Conditions of rules on the facts of a question: a fact, by its path, and the values of which it has to have one."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

Scalar: TypeAlias = str | bool | float
# As JSON has them: objects within objects, by name.
Facts: TypeAlias = Mapping[str, Any]

# Beyond it, numbers of JSON skip some.
_LARGEST = 2**53


@dataclass(frozen=True, slots=True)
class Condition:
    """A fact is one of these values; `true` is no number. One that is not given is none of them."""

    path: tuple[str, ...]
    values: frozenset[tuple[type, Scalar]]

    def holds(self, facts: Facts) -> bool:
        """Whether the facts meet it."""
        found: Any = facts
        for name in self.path:
            if not isinstance(found, Mapping) or name not in found:
                return False
            found = found[name]
        return _typed(found) in self.values


def conditions(table: Mapping[str, Any], within: tuple[str, ...] = ()) -> Iterator[Condition]:
    """Those of a `when` table: a path (`user.tier`, in quotes or as tables) and a value or a list of values.

    Raises:
        ValueError: a path or a value cannot be; the message names it.
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
            what = "a text, a number, true or false, or a list of such"
            raise ValueError(f"`when.{'.'.join(path)}` is {what}; numbers are at most 2^53, and finite")
        yield Condition(path, frozenset(each for each in typed if each is not None))


def _typed(value: Any) -> tuple[type, Scalar] | None:
    """A value beside its kind, since `True` equals 1 in Python; None for what is no scalar."""
    if isinstance(value, bool | str):
        return type(value), value
    if isinstance(value, int | float) and math.isfinite(value) and abs(value) <= _LARGEST:
        return float, float(value)
    return None
