"""The form of API keys: `soma_<id>_<secret><checksum>`, letters and digits.

The id finds the key, the secret proves it, and the checksum shows a mistyped or invented key without a look into the
database. Scanners of leaked secrets know a key by its prefix and its checksum.
"""

import hashlib
import secrets
import string
import zlib
from dataclasses import dataclass

PREFIX = "soma_"
_ALPHABET = string.digits + string.ascii_letters
_ID_LENGTH, _SECRET_LENGTH, _CHECKSUM_LENGTH = 12, 36, 6
_LENGTH = len(PREFIX) + _ID_LENGTH + 1 + _SECRET_LENGTH + _CHECKSUM_LENGTH


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key: `text` is the whole of it, `key_id` its public part."""

    text: str
    key_id: str

    @property
    def digest(self) -> bytes:
        """What is stored: SHA-256. A key has 214 random bits, so a slow hash would add nothing."""
        return hashlib.sha256(self.text.encode()).digest()


def make(key_id: str = "") -> ApiKey:
    """A new random key, with a random id unless one is given."""
    key_id = key_id or _random(_ID_LENGTH)
    body = f"{PREFIX}{key_id}_{_random(_SECRET_LENGTH)}"
    return ApiKey(body + _checksum(body), key_id)


def read(text: str) -> ApiKey | None:
    """The key in a credential; None if it does not have the form of one, or its checksum is wrong."""
    if len(text) != _LENGTH or not text.startswith(PREFIX) or not text.isascii():
        return None
    body, checksum = text[:-_CHECKSUM_LENGTH], text[-_CHECKSUM_LENGTH:]
    key_id, underscore, secret = body[len(PREFIX) :].partition("_")
    if not underscore or len(key_id) != _ID_LENGTH or not (key_id + secret).isalnum() or _checksum(body) != checksum:
        return None
    return ApiKey(text, key_id)


def _random(length: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


def _checksum(body: str) -> str:
    number, digits = zlib.crc32(body.encode()), ""
    for _ in range(_CHECKSUM_LENGTH):
        number, digit = divmod(number, len(_ALPHABET))
        digits = _ALPHABET[digit] + digits
    return digits
