"""Bytes that this process holds in its memory, with the number of those who hold them."""

from dataclasses import dataclass

from prometheus_client import Gauge
from soma.errors.v1 import reasons

from services.mesh.call import errors

RETRY_SECONDS = 1.0

_HELD = Gauge("soma_blobs_held_bytes", "Bytes of pictures, sounds and documents that this process holds")


@dataclass(slots=True)
class _Entry:
    data: bytes
    holders: int


class Held:
    """Equal bytes of one tenant are held once, and let go with their last holder; `limit` bytes at most."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._entries: dict[tuple[str, str], _Entry] = {}
        self._size = 0

    def take(self, tenant_id: str, hash: str, data: bytes) -> None:
        """Hold bytes once more.

        Raises:
            Unavailable: OVERLOADED, the process holds as many bytes as it may.
        """
        entry = self._entries.get((tenant_id, hash))
        if entry is not None:
            entry.holders += 1
            return
        # Bytes that are larger than the limit are held alone.
        if self._size and self._size + len(data) > self._limit:
            raise errors.Unavailable(
                "this process holds as many pictures, sounds and documents as it may",
                reason=reasons.OVERLOADED,
                retry_after=RETRY_SECONDS,
            )
        self._entries[tenant_id, hash] = _Entry(data, 1)
        self._resize(len(data))

    def let_go(self, tenant_id: str, hash: str) -> None:
        """Hold bytes once less."""
        entry = self._entries[tenant_id, hash]
        entry.holders -= 1
        if not entry.holders:
            del self._entries[tenant_id, hash]
            self._resize(-len(entry.data))

    def get(self, tenant_id: str, hash: str) -> bytes | None:
        """The bytes; None if nobody in this process holds them."""
        entry = self._entries.get((tenant_id, hash))
        return None if entry is None else entry.data

    def _resize(self, bytes: int) -> None:
        self._size += bytes
        _HELD.inc(bytes)
