"""Bytes that this process holds in its memory, with the number of those who hold them."""

from dataclasses import dataclass

from prometheus_client import Gauge
from soma.errors.v1 import reasons

from services.mesh.call import errors

RETRY_SECONDS = 1.0

_HELD = Gauge("soma_blobs_held_bytes", "Bytes of pictures, sounds and documents that this process holds")


@dataclass(slots=True)
class _Entry:
    """Bytes, their base64 if it is here, and how often it will be asked for."""

    data: bytes
    base64: str = ""
    asks: int = 0
    holders: int = 1

    @property
    def size(self) -> int:
        return len(self.data) + len(self.base64)


class Held:
    """Equal bytes of one tenant are held once, and let go with their last holder; `limit` bytes at most."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._entries: dict[tuple[str, str], _Entry] = {}
        self._size = 0

    def take(self, tenant_id: str, hash: str, data: bytes, base64: str = "") -> None:
        """Hold bytes once more. A holder who has their base64 keeps it for one who asks for it.

        Raises:
            Unavailable: OVERLOADED, the process holds as many bytes as it may.
        """
        entry = self._entries.get((tenant_id, hash))
        if entry is not None:
            entry.holders += 1
            self._keep_base64(entry, base64)
            return
        if self._size + len(data) > self._limit:
            self._drop_base64()
        # Bytes that are larger than the limit are held alone.
        if self._size and self._size + len(data) > self._limit:
            raise errors.Unavailable(
                "this process holds as many pictures, sounds and documents as it may",
                reason=reasons.OVERLOADED,
                retry_after=RETRY_SECONDS,
            )
        entry = self._entries[tenant_id, hash] = _Entry(data)
        self._resize(len(data))
        self._keep_base64(entry, base64)

    def let_go(self, tenant_id: str, hash: str) -> None:
        """Hold bytes once less."""
        entry = self._entries[tenant_id, hash]
        entry.holders -= 1
        if not entry.holders:
            del self._entries[tenant_id, hash]
            self._resize(-entry.size)

    def get(self, tenant_id: str, hash: str) -> bytes | None:
        """The bytes; None if nobody in this process holds them."""
        entry = self._entries.get((tenant_id, hash))
        return None if entry is None else entry.data

    def take_base64(self, tenant_id: str, hash: str) -> str:
        """The base64 of held bytes; empty if it is not here, or was taken as often as holders have kept it."""
        entry = self._entries.get((tenant_id, hash))
        if entry is None:
            return ""
        base64, entry.asks = entry.base64, max(0, entry.asks - 1)
        if base64 and not entry.asks:
            entry.base64 = ""
            self._resize(-len(base64))
        return base64

    def _keep_base64(self, entry: _Entry, base64: str) -> None:
        if base64 and not entry.base64 and self._size + len(base64) <= self._limit:
            entry.base64 = base64
            self._resize(len(base64))
        if base64 and entry.base64:
            entry.asks += 1

    def _drop_base64(self) -> None:
        """Make room. Whoever needs a text can make it."""
        for entry in self._entries.values():
            self._resize(-len(entry.base64))
            entry.base64 = ""

    def _resize(self, bytes: int) -> None:
        self._size += bytes
        _HELD.inc(bytes)
