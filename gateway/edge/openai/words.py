"""The messages with which OpenAI's API refuses a request, and the parameter that each names."""

from collections.abc import Sequence
from typing import NoReturn

from soma.errors.v1 import reasons

from gateway.edge.faults import Fault
from gateway.edge.refusal import refuse as refuse
from gateway.edge.request_model import Words
from services.mesh.call.errors import FieldViolation, InvalidArgument

_BELOW = "Invalid '{param}': {sort} below minimum value. Expected a value >= {limit}, but got {value} instead."
_ABOVE = "Invalid '{param}': {sort} above maximum value. Expected a value <= {limit}, but got {value} instead."
# The reason and the message of each kind of fault. The reason in lower case is OpenAI's `code`.
WORDS: dict[str, tuple[str, str]] = {
    "missing": (reasons.MISSING_REQUIRED_PARAMETER, "Missing required parameter: '{param}'."),
    "unknown": (reasons.UNKNOWN_PARAMETER, "Unknown parameter: '{param}'."),
    "type": (reasons.INVALID_TYPE, "Invalid type for '{param}': expected {expected}, but got {got} instead."),
    "choice": (reasons.INVALID_VALUE, "Invalid value: '{value}'. Supported values are: {expected}."),
    "pattern": (
        reasons.INVALID_VALUE,
        "Invalid '{param}': string does not match pattern. Expected a string that matches '{pattern}'.",
    ),
    "integer_below": (reasons.INTEGER_BELOW_MIN_VALUE, _BELOW.replace("{sort}", "integer")),
    "integer_above": (reasons.INTEGER_ABOVE_MAX_VALUE, _ABOVE.replace("{sort}", "integer")),
    "decimal_below": (reasons.DECIMAL_BELOW_MIN_VALUE, _BELOW.replace("{sort}", "decimal")),
    "decimal_above": (reasons.DECIMAL_ABOVE_MAX_VALUE, _ABOVE.replace("{sort}", "decimal")),
    "array_too_short": (
        reasons.EMPTY_ARRAY,
        "Invalid '{param}': empty array. Expected an array with minimum length {limit}.",
    ),
    "array_too_long": (
        reasons.ARRAY_ABOVE_MAX_LENGTH,
        "Invalid '{param}': array too long. Expected an array with maximum length {limit}.",
    ),
    "object_too_long": (
        reasons.OBJECT_ABOVE_MAX_PROPERTIES,
        "Invalid '{param}': too many properties. Expected at most {limit}.",
    ),
    "string_too_long": (
        reasons.STRING_ABOVE_MAX_LENGTH,
        "Invalid '{param}': string too long. Expected a string with maximum length {limit}, "
        "but got a string with length {length} instead.",
    ),
    "other": (reasons.INVALID_VALUE, "Invalid '{param}': {message}."),
}


UNSUPPORTED = "Unsupported parameter: '{param}' is not supported here."


def missing(param: str) -> NoReturn:
    """Refuse a request without `param`."""
    reason, words = WORDS["missing"]
    refuse(words.format(param=param), param, reason)


def unsupported(param: str) -> NoReturn:
    """Refuse a parameter that OpenAI has and this edge does not have; it must not be ignored."""
    refuse(UNSUPPORTED.format(param=param), param, reasons.UNSUPPORTED_PARAMETER)


def _not_json(why: str) -> InvalidArgument:
    return InvalidArgument(f"We could not parse the JSON body of your request: {why}")


def _wrong_body(found: Sequence[Fault]) -> InvalidArgument:
    unknown = [fault.param for fault in found if fault.kind == "unknown" and len(fault.path) == 1]
    if unknown:
        plural = "s" if len(unknown) > 1 else ""
        return InvalidArgument(f"Unrecognized request argument{plural} supplied: {', '.join(unknown)}")
    return _wrong(found)


def _wrong(found: Sequence[Fault]) -> InvalidArgument:
    return _refusal(found[0]) if found else InvalidArgument("Too many values of your request are wrong or unknown.")


def _refusal(fault: Fault) -> InvalidArgument:
    reason, words = fault.own or WORDS[fault.kind]
    message = words.format(param=fault.param, **fault.facts)
    return InvalidArgument(message, reason=reason, violations=[FieldViolation(fault.param, message)])


BODY = Words(_not_json, _wrong_body)
QUERY = Words(_not_json, _wrong)
