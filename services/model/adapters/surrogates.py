"""Reads JSON in which a character outside the BMP may come as two escapes, each in another piece."""

import json
from collections.abc import Hashable
from typing import Any

import orjson

_FIRST_HALVES = ("\ud800", "\udbff")


def read_json(data: bytes | bytearray) -> Any:
    """Parse a JSON document; it may have half of a surrogate pair or `NaN`, which `orjson` refuses.

    Raises:
        ValueError: the data is not JSON.
    """
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        try:
            return json.loads(data)
        except RecursionError as error:
            raise ValueError("it is nested too deeply") from error


def repaired(text: str) -> str:
    """The text with surrogate pairs joined; a single half becomes U+FFFD."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


class SurrogateJoiner:
    """Joins surrogate pairs that are split between two pieces, for several texts at the same time."""

    def __init__(self) -> None:
        self._held: dict[Hashable, str] = {}

    def join(self, key: Hashable, piece: str) -> str:
        """Add a piece to the text `key`, and return what can be shown of it; a first half is held back."""
        text = self._held.pop(key, "") + piece
        if text and _FIRST_HALVES[0] <= text[-1] <= _FIRST_HALVES[1]:
            self._held[key] = text[-1]
            text = text[:-1]
        return repaired(text)

    def end(self, key: Hashable) -> str:
        """End the text `key`: U+FFFD if a first half of it is still held back, else nothing."""
        return repaired(self._held.pop(key, ""))

    def flush(self) -> dict[Hashable, str]:
        """The texts with a first half that is still held back, each with U+FFFD in its place."""
        held, self._held = self._held, {}
        return {key: repaired(half) for key, half in held.items()}
