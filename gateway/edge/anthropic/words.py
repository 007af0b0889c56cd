"""The messages with which Anthropic's API refuses a request: the path of a member, and what is wrong with it."""

from collections.abc import Sequence
from typing import NoReturn

from soma.errors.v1 import reasons

from gateway.edge.faults import Fault
from gateway.edge.refusal import refuse as refuse_param
from gateway.edge.request_model import Words
from services.mesh.call.errors import InvalidArgument

_WORDS = {
    "missing": "Field required",
    "unknown": "Extra inputs are not permitted",
    "type": "Input should be {expected}",
    "choice": "Input should be one of {expected}",
    "pattern": "String should match pattern '{pattern}'",
    "integer_below": "Input should be greater than or equal to {limit}",
    "integer_above": "Input should be less than or equal to {limit}",
    "decimal_below": "Input should be greater than or equal to {limit}",
    "decimal_above": "Input should be less than or equal to {limit}",
    "array_too_short": "List should have at least {limit} items",
    "array_too_long": "List should have at most {limit} items",
    "object_too_long": "Object should have at most {limit} members",
    "string_too_short": "String should have at least {limit} characters",
    "string_too_long": "String should have at most {limit} characters",
    "other": "{message}",
}
_REASONS = {
    "missing": reasons.MISSING_REQUIRED_PARAMETER,
    "unknown": reasons.UNKNOWN_PARAMETER,
    "type": reasons.INVALID_TYPE,
}


def refuse(where: str, why: str, reason: str = reasons.INVALID_VALUE) -> NoReturn:
    """Raise the 400 of a member at the path `where`, such as `messages.0.content`."""
    refuse_param(f"{where}: {why}", where, reason)


def missing(where: str) -> NoReturn:
    """Refuse a request without this member."""
    refuse(where, _WORDS["missing"], reasons.MISSING_REQUIRED_PARAMETER)


def _not_json(why: str) -> InvalidArgument:
    return InvalidArgument(f"The request body is not valid JSON: {why}")


def _wrong(found: Sequence[Fault]) -> InvalidArgument:
    if not found:
        return InvalidArgument("Too many values of the request are wrong or unknown.")
    fault = found[0]
    where = ".".join(map(str, fault.path))
    if fault.own is not None:
        reason, message = fault.own[0], fault.own[1].format(param=where, **fault.facts)
    else:
        reason = _REASONS.get(fault.kind, reasons.INVALID_VALUE)
        message = f"{where}: {_WORDS[fault.kind].format(**fault.facts)}"
    try:
        refuse_param(message, where, reason)
    except InvalidArgument as error:
        return error


WORDS = Words(_not_json, _wrong)
