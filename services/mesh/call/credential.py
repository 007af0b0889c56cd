"""Keys and other values as people give them: what copying adds is taken off, what no header can carry is named."""

import re
import unicodedata

# `str.strip` leaves a byte order mark and spaces that have no width.
_AROUND = re.compile(r"^[\s\ufeff\u200b-\u200d\u2060]+|[\s\ufeff\u200b-\u200d\u2060]+$")
_LINE_ENDS = "\r\n"


def trimmed(text: str) -> str:
    """A value without what surrounds it: spaces, line ends, a byte order mark, and then one pair of quotes.

    Quotes stay in what `docker --env-file` and some secret stores hand on.
    """
    text = _AROUND.sub("", text)
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
        text = _AROUND.sub("", text[1:-1])
    return text


def checked(key: str) -> str:
    """A key that a header can carry, trimmed.

    Raises:
        ValueError: a character of it is no printable ASCII; the message names that one and nothing else of the key.
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
