"""Members of a request that the contract has no field for: they reach the provider as the client sent them."""

from collections.abc import Collection, Mapping
from typing import Any

import orjson
from soma.errors.v1 import reasons

from gateway.edge.refusal import refuse


def sent(given: Mapping[str, Any], names: Collection[str], where: str = "") -> str:
    """The members with these names as a JSON object; empty if none of them is set. `where` is the object's parameter.

    Raises:
        InvalidArgument: a member is nested too deeply; the error names it.
    """
    members = {name: value for name, value in given.items() if name in names and value is not None}
    if not members:
        return ""
    return json_text(members, where or next(iter(members)))


def json_text(value: Any, param: str) -> str:
    """A value of the parameter `param` as JSON text.

    Raises:
        InvalidArgument: it is nested too deeply.
    """
    try:
        return orjson.dumps(value).decode()
    except orjson.JSONEncodeError:
        # orjson can parse four times the depth that it can serialize.
        refuse(f"Invalid '{param}': the value is nested too deeply.", param, reasons.INVALID_VALUE)


def members_of(text: str) -> dict[str, Any]:
    """The members of a JSON object; none if the text is empty or anything else."""
    try:
        found = orjson.loads(text) if text else {}
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}
