"""JSON values of a request, checked: a wrong type or range is refused in OpenAI's words, naming the parameter."""

from collections.abc import Collection
from typing import Any, NoReturn

import orjson
from soma.errors.v1 import reasons

from services.mesh.call.errors import FieldViolation, InvalidArgument

KINDS = {
    str: "a string",
    bool: "a boolean",
    int: "an integer",
    float: "a decimal",
    list: "an array",
    dict: "an object",
    type(None): "null",
}


def refuse(message: str, param: str, reason: str) -> NoReturn:
    """Raise the 400 that names `param`; its lower-case `reason` becomes OpenAI's `code`."""
    raise InvalidArgument(message, reason=reason, violations=[FieldViolation(param, message)])


def wrong_type(value: object, param: str, expected: str) -> NoReturn:
    """Refuse a value of another type than `expected` (`a string`)."""
    message = f"Invalid type for '{param}': expected {expected}, but got {KINDS[type(value)]} instead."
    refuse(message, param, reasons.INVALID_TYPE)


def missing(param: str) -> NoReturn:
    """Refuse a request without `param`."""
    refuse(f"Missing required parameter: '{param}'.", param, reasons.MISSING_REQUIRED_PARAMETER)


def unsupported(param: str, message: str | None = None) -> NoReturn:
    """Refuse a parameter OpenAI has and this edge has not, rather than ignore it."""
    refuse(message or f"Unsupported parameter: '{param}' is not supported here.", param, reasons.UNSUPPORTED_PARAMETER)


def read_object(body: bytes | bytearray, known: Collection[str]) -> dict[str, Any]:
    """The JSON object a body is, which may have only the `known` members.

    Raises:
        InvalidArgument: it is none, or has others.
    """
    try:
        given = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidArgument(f"We could not parse the JSON body of your request: {error}") from error
    if type(given) is not dict:
        raise InvalidArgument("We could not parse the JSON body of your request: expected an object.")
    if unknown := [name for name in given if name not in known]:
        plural = "s" if len(unknown) > 1 else ""
        raise InvalidArgument(f"Unrecognized request argument{plural} supplied: {', '.join(unknown)}")
    return given


def text(value: object, param: str) -> str:
    """A string."""
    if type(value) is not str:
        wrong_type(value, param, "a string")
    return value


def boolean(value: object, param: str) -> bool:
    """True or false."""
    if type(value) is not bool:
        wrong_type(value, param, "a boolean")
    return value


def integer(value: object, param: str, low: int, high: int) -> int:
    """A whole number from `low` to `high`."""
    if type(value) is not int:
        wrong_type(value, param, "an integer")
    if value < low:
        _below(value, param, low, "integer", reasons.INTEGER_BELOW_MIN_VALUE)
    if value > high:
        _above(value, param, high, "integer", reasons.INTEGER_ABOVE_MAX_VALUE)
    return value


def decimal(value: object, param: str, low: float, high: float) -> float:
    """A number from `low` to `high`."""
    if type(value) is not float and type(value) is not int:
        wrong_type(value, param, "a decimal")
    if value < low:
        _below(value, param, low, "decimal", reasons.DECIMAL_BELOW_MIN_VALUE)
    if value > high:
        _above(value, param, high, "decimal", reasons.DECIMAL_ABOVE_MAX_VALUE)
    return value


def array(value: object, param: str, *, most: int) -> list[Any]:
    """A list of at most `most` values."""
    if type(value) is not list:
        wrong_type(value, param, "an array")
    if len(value) > most:
        message = f"Invalid '{param}': array too long. Expected an array with maximum length {most}."
        refuse(message, param, reasons.ARRAY_ABOVE_MAX_LENGTH)
    return value


def members(value: object, param: str, known: Collection[str] | None = None) -> dict[str, Any]:
    """An object; with `known`, one that has no other members."""
    if type(value) is not dict:
        wrong_type(value, param, "an object")
    if known is not None:
        for name in value:
            if name not in known:
                refuse(f"Unknown parameter: '{param}.{name}'.", f"{param}.{name}", reasons.UNKNOWN_PARAMETER)
    return value


def required(holder: dict[str, Any], name: str, param: str) -> Any:
    """The member `name` of `holder`, the value of `param`."""
    if name not in holder:
        missing(f"{param}.{name}")
    return holder[name]


def one_of(value: object, param: str, supported: Collection[str]) -> str:
    """One of the `supported` strings."""
    if text(value, param) not in supported:
        listed = ", ".join(f"'{each}'" for each in supported)
        refuse(f"Invalid value: '{value}'. Supported values are: {listed}.", param, reasons.INVALID_VALUE)
    return str(value)


def _below(value: float, param: str, low: float, kind: str, reason: str) -> NoReturn:
    message = f"Invalid '{param}': {kind} below minimum value. Expected a value >= {low}, but got {value} instead."
    refuse(message, param, reason)


def _above(value: float, param: str, high: float, kind: str, reason: str) -> NoReturn:
    message = f"Invalid '{param}': {kind} above maximum value. Expected a value <= {high}, but got {value} instead."
    refuse(message, param, reason)
