"""JSON as servers really write it: characters outside the BMP may come as two escapes, each in a piece of its own."""

import json
from collections.abc import Hashable
from typing import Any

import orjson

_FIRST_HALVES = ("\ud800", "\udbff")


def read_json(data: bytes | bytearray) -> Any:
    """A JSON document, also one with half a character or `NaN` in it, which `orjson` refuses.

    Raises:
        ValueError: it is none.
    """
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        try:
            return json.loads(data)
        except RecursionError as error:
            raise ValueError("it is nested too deeply") from error


def mended(text: str) -> str:
    """The text with halves that belong together joined; a half alone becomes U+FFFD."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


class Halves:
    """Holds the first half of a character back until the piece with the second half comes, for several texts."""

    def __init__(self) -> None:
        self._held: dict[Hashable, str] = {}

    def join(self, key: Hashable, piece: str) -> str:
        """What can be shown of the text `key` after this piece."""
        text = self._held.pop(key, "") + piece
        if text and _FIRST_HALVES[0] <= text[-1] <= _FIRST_HALVES[1]:
            self._held[key] = text[-1]
            text = text[:-1]
        return mended(text)

    def left(self) -> dict[Hashable, str]:
        """The texts whose last half never came, each with what stands for it."""
        held, self._held = self._held, {}
        return {key: mended(half) for key, half in held.items()}
