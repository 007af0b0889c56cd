"""Reads TOML files as people's editors save them."""

import codecs
import tomllib
from typing import Any


def parsed(raw: bytes) -> dict[str, Any]:
    """The content of a file; a byte order mark of UTF-8 is ignored.

    Raises:
        ValueError: the file is no TOML, or no UTF-8; the message says which.
    """
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise ValueError("it is written in UTF-16; save it as UTF-8")
    try:
        return tomllib.loads(raw.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise ValueError(f"it is no UTF-8: byte {error.start} is {raw[error.start]:#04x}") from error
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"it is no TOML: {error}") from error
