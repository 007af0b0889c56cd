"""What is wrong with a request: which value, and in what way. Pydantic finds it; each protocol has its own words."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError
from pydantic_core import PydanticCustomError

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

MOST_FAULTS: Final = 256
"""Of a request with more faults none is named: describing each takes a microsecond and half a kilobyte."""

# How the name of a union's branch begins, which pydantic has in its locations, so that it is not taken for a member.
BRANCH = "union:"
# Members that say what an object is: without them nothing can be said of the others.
FIRST = ("type", "role")
REFUSED = "refused"
TEXT_OR_LIST = "text_or_list"
EXPECTED = {
    "string_type": "a string",
    "literal_error": "a string",
    TEXT_OR_LIST: "one of a string or array of objects",
    "bool_type": "a boolean",
    "int_type": "an integer",
    "float_type": "a decimal",
    "list_type": "an array",
    "dict_type": "an object",
    "model_type": "an object",
}
KINDS = {
    str: "a string",
    bool: "a boolean",
    int: "an integer",
    float: "a decimal",
    list: "an array",
    dict: "an object",
    type(None): "null",
}
SORTS: dict[type, str] = {str: "string", list: "array", dict: "object"}


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong.

    Attributes:
        kind: `missing`, `unknown`, `type`, `choice`, `pattern`, `other`, or what is beyond a limit and how, such as
            `integer_below`, `decimal_above`, `array_too_long`, `string_too_short`.
        path: where the value is, or should be.
        facts: what can be said of it. Of a type: `expected` and `got`; of a choice: `value` and `expected`; of a limit:
            `limit`, and the `value` or its `length`; of a pattern: `pattern`; of the rest: `message`, by pydantic.
        own: the reason and the message of a rule that the protocol has stated itself.
    """

    kind: str
    path: tuple[str | int, ...]
    facts: Mapping[str, Any] = field(default_factory=dict)
    own: tuple[str, str] | None = None

    @property
    def param(self) -> str:
        """The path as it is written in JavaScript: `messages[0].content`."""
        steps = (f"[{step}]" if type(step) is int else f".{step}" for step in self.path)
        return "".join(steps).removeprefix(".")


def refused(reason: str, message: str) -> PydanticCustomError:
    """What a validator of a model raises: `message` may have `{param}` and `{got}`, the kind of the value, in it."""
    return PydanticCustomError(REFUSED, "refused", {"reason": reason, "message": message})


def faults(error: ValidationError) -> list[Fault]:
    """The faults of a request: missing members last, others in the model's order; none if they are over MOST_FAULTS."""
    if error.error_count() > MOST_FAULTS:
        return []
    found = [_fault(each) for each in error.errors(include_url=False)]
    # A member that is missing may be there under a wrong name, which says more.
    return sorted(found, key=lambda fault: fault.kind == "missing" and fault.path[-1] not in FIRST)


def _fault(error: "ErrorDetails") -> Fault:
    found, given, context = error["type"], error["input"], error.get("ctx", {})
    path, got = _path(error), KINDS[type(given)]
    match found:
        case "missing":
            return Fault("missing", path)
        # A member that may only be null is one that clients send although it says nothing.
        case "extra_forbidden" | "none_required":
            return Fault("unknown", path)
        case "literal_error" if type(given) is str:
            return Fault("choice", path, {"value": given, "expected": context["expected"].replace(" or ", ", ")})
        case "greater_than_equal" | "less_than_equal":
            bound, beyond = ("ge", "below") if found == "greater_than_equal" else ("le", "above")
            # The limit has the type of the field: 3 may be given for a decimal.
            sort, limit = (
                ("decimal", f"{context[bound]:g}") if type(context[bound]) is float else ("integer", context[bound])
            )
            return Fault(f"{sort}_{beyond}", path, {"value": given, "limit": limit})
        case "too_short" | "too_long" | "string_too_short" | "string_too_long":
            beyond = found.removeprefix("string_")
            limit = context["min_length" if beyond == "too_short" else "max_length"]
            return Fault(f"{SORTS[type(given)]}_{beyond}", path, {"length": len(given), "limit": limit})
        case "string_pattern_mismatch":
            return Fault("pattern", path, {"pattern": context["pattern"]})
        case "refused":
            return Fault("other", path, {"got": got}, (context["reason"], context["message"]))
    if found in EXPECTED:
        return Fault("type", path, {"expected": EXPECTED[found], "got": got})
    return Fault("other", path, {"message": error["msg"]})


def _path(error: "ErrorDetails") -> tuple[str | int, ...]:
    *before, last = error["loc"] or ("",)
    steps = [step for step in before if not _is_branch(step)]
    # An unknown member may be called anything.
    if error["type"] == "extra_forbidden" or not _is_branch(last):
        steps.append(last)
    return tuple(steps)


def _is_branch(step: str | int) -> bool:
    return type(step) is str and step.startswith(BRANCH)
