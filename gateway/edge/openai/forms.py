"""The members of a form, as a JSON body would have them."""

from collections.abc import Collection
from math import isfinite
from typing import Any, NoReturn

from soma.errors.v1 import reasons

from gateway.edge.multipart import UploadForm
from gateway.edge.openai.words import refuse

_LIST = "[]"


def members_of(form: UploadForm, *, numbers: Collection[str], flags: Collection[str] = ()) -> dict[str, Any]:
    """The texts of a form by their names. `name[]` is a list; `numbers` and `flags` are read as JSON has them.

    Raises:
        InvalidArgument: a number or a flag is none; the error names it.
    """
    found: dict[str, Any] = {}
    for name, text in form.fields:
        if name.endswith(_LIST):
            found.setdefault(name.removesuffix(_LIST), []).append(text)
        elif name in numbers:
            found[name] = _number(name, text)
        elif name in flags:
            found[name] = _flag(name, text)
        else:
            found[name] = text
    return found


def _number(name: str, text: str) -> int | float:
    for kind in (int, float):
        try:
            found = kind(text)
        except ValueError:
            continue
        if isfinite(found):
            return found
    _wrong(name, "a number", text)


def _flag(name: str, text: str) -> bool:
    lower = text.lower()
    if lower not in ("true", "false", "1", "0"):
        _wrong(name, "a boolean", text)
    return lower in ("true", "1")


def _wrong(name: str, expected: str, text: str) -> NoReturn:
    message = f"Invalid type for '{name}': expected {expected}, but got '{text[:64]}' instead."
    refuse(message, name, reasons.INVALID_TYPE)
