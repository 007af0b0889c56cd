"""Cleans keys and other values of what copying adds, and checks that a header can carry them."""

import re
import unicodedata

# `str.strip` does not remove a byte order mark, nor spaces that have no width.
_AROUND = re.compile(r"^[\s\ufeff\u200b-\u200d\u2060]+|[\s\ufeff\u200b-\u200d\u2060]+$")
_LINE_ENDS = "\r\n"


def trimmed(text: str) -> str:
    """A value without the spaces, line ends and byte order mark around it, and then without one pair of quotes.

    `docker --env-file` and some secret stores pass on values with their quotes.
    """
    text = _AROUND.sub("", text)
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
        text = _AROUND.sub("", text[1:-1])
    return text


def checked(key: str) -> str:
    """A key that a header can carry, trimmed.

    Raises:
        ValueError: a character of it is no printable ASCII; the message names that character and no other.
    """
    key = trimmed(key)
    for place, character in enumerate(key):
        if not " " <= character <= "~":
            raise ValueError(
                f"character {place + 1} of the key is {_named(character)}; a key is one line of printable ASCII"
            )
    return key


def _named(character: str) -> str:
    code = f"U+{ord(character):04X}"
    if character in _LINE_ENDS:
        return f"a line end ({code})"
    name = unicodedata.name(character, "a control character").lower()
    return f"{name} ({code})"
