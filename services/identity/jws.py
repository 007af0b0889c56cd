"""Signed tokens in their compact form (JWS, RFC 7515), read strictly: each can be written in one way only.

Nothing in a token chooses how it is checked: who checks it says with which algorithm and which key.
"""

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from jwt.algorithms import get_default_algorithms

LONGEST = 16_384
_PART = re.compile(r"[A-Za-z0-9_-]*", re.ASCII)
_ALGORITHMS = get_default_algorithms()


class Malformed(Exception):
    """It is no signed token, or it could be read in two ways."""


@dataclass(frozen=True, slots=True)
class Jws:
    """A token that has the right form; its signature is not checked yet.

    Attributes:
        signed: the bytes that the signature is for.
    """

    header: Mapping[str, Any]
    payload: bytes
    signature: bytes
    signed: bytes

    @property
    def claims(self) -> Mapping[str, Any]:
        """The payload as a JSON object.

        Raises:
            Malformed: it is something else, or has a name twice.
        """
        return _object(self.payload)

    def is_signed(self, algorithm: str, key: Any) -> bool:
        """Whether the holder of a key has signed it with this algorithm."""
        return _ALGORITHMS[algorithm].verify(self.signed, key, self.signature)


def read(token: str) -> Jws:
    """A token in its parts.

    Raises:
        Malformed: it is too long, has not three parts in base64url without padding, or its header is no JSON object.
    """
    parts = token.split(".", 3) if len(token) <= LONGEST else []
    if len(parts) != 3:
        raise Malformed
    header, payload, signature = map(_decoded, parts)
    if not signature:
        raise Malformed
    return Jws(_object(header), payload, signature, f"{parts[0]}.{parts[1]}".encode())


def _decoded(part: str) -> bytes:
    if not _PART.fullmatch(part) or len(part) % 4 == 1:
        raise Malformed
    decoded = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    # The last character may have bits that belong to no byte: the same bytes could be written in several ways.
    if base64.urlsafe_b64encode(decoded).rstrip(b"=") != part.encode():
        raise Malformed
    return decoded


def _object(text: bytes) -> Mapping[str, Any]:
    try:
        read: object = json.loads(text.decode(), object_pairs_hook=_unique, parse_constant=_refused)
    except (ValueError, RecursionError) as error:
        raise Malformed from error
    if not isinstance(read, dict):
        raise Malformed
    return read


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Malformed
    return found


def _refused(_: str) -> NoReturn:
    raise Malformed
