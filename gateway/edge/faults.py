"""The faults of a request: the value at fault, and the rule it breaks. Pydantic finds them; a protocol words them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError
from pydantic_core import PydanticCustomError

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

MOST_FAULTS: Final = 256
"""If a request has more faults, none is named: to describe one takes a microsecond and half a kilobyte."""

# The prefix of the names of union branches. Pydantic's locations have these names beside names of members.
BRANCH = "union:"
# Members that give the type of an object. If one is missing, the other members cannot be checked.
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
    """One fault.

    Attributes:
        kind: `missing`, `unknown`, `type`, `choice`, `pattern`, `other`, or a limit that is exceeded, such as
            `integer_below`, `decimal_above`, `array_too_long`, `string_too_short`.
        path: the position of the value, or of the missing value.
        facts: details by kind. `type`: `expected` and `got`; `choice`: `value` and `expected`; a limit: `limit`, and
            the `value` or its `length`; `pattern`: `pattern`; `other`: pydantic's `message`, or `got`.
        own: the reason and the message if the rule is one of the protocol's own.
    """

    kind: str
    path: tuple[str | int, ...]
    facts: Mapping[str, Any] = field(default_factory=dict)
    own: tuple[str, str] | None = None

    @property
    def param(self) -> str:
        """The path in the syntax of JavaScript, such as `messages[0].content`."""
        steps = (f"[{step}]" if type(step) is int else f".{step}" for step in self.path)
        return "".join(steps).removeprefix(".")


def refused(reason: str, message: str) -> PydanticCustomError:
    """The error that a validator raises. `message` may contain `{param}`, and `{got}` for the type of the value."""
    return PydanticCustomError(REFUSED, "refused", {"reason": reason, "message": message})


def faults(error: ValidationError) -> list[Fault]:
    """The faults of a request: missing members last, others in the model's order; none if they are over MOST_FAULTS."""
    if error.error_count() > MOST_FAULTS:
        return []
    found = [_fault(each) for each in error.errors(include_url=False)]
    # A missing member may be present under a wrong name; the fault of the wrong name says more.
    return sorted(found, key=lambda fault: fault.kind == "missing" and fault.path[-1] not in FIRST)


def _fault(error: "ErrorDetails") -> Fault:
    found, given, context = error["type"], error["input"], error.get("ctx", {})
    path, got = _path(error), KINDS[type(given)]
    match found:
        case "missing":
            return Fault("missing", path)
        # A member that may only be null is unknown too; it is permitted because clients send it with null.
        case "extra_forbidden" | "none_required":
            return Fault("unknown", path)
        case "literal_error" if type(given) is str:
            return Fault("choice", path, {"value": given, "expected": context["expected"].replace(" or ", ", ")})
        case "greater_than_equal" | "less_than_equal":
            bound, beyond = ("ge", "below") if found == "greater_than_equal" else ("le", "above")
            # The type of the limit is that of the field; the value may be an integer such as 3 even for a decimal.
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
    # An unknown member may have any name, also one that begins like a branch.
    if error["type"] == "extra_forbidden" or not _is_branch(last):
        steps.append(last)
    return tuple(steps)


def _is_branch(step: str | int) -> bool:
    return type(step) is str and step.startswith(BRANCH)
