"""Seals: they show that a text was made in this stack and was not changed since, when a client brings it back."""

import hashlib
import hmac

MAC_BYTES = 16


class Seal:
    """Makes and checks seals of one purpose, with the stack's internal key.

    A seal of one purpose is none of another, and no signature of a principal.
    """

    def __init__(self, key: bytes, purpose: str) -> None:
        self._key = hmac.new(key, b"seal " + purpose.encode(), hashlib.sha256).digest()

    def of(self, data: bytes) -> bytes:
        """The seal of data: MAC_BYTES bytes."""
        return hmac.digest(self._key, data, "sha256")[:MAC_BYTES]

    def holds(self, seal: bytes, data: bytes) -> bool:
        """Whether this is the seal of the data."""
        return hmac.compare_digest(seal, self.of(data))
