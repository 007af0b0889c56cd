"""Bytes that this process holds in its memory, with the number of those who hold them."""

from dataclasses import dataclass


@dataclass(slots=True)
class _Entry:
    data: bytes
    holders: int


class Held:
    """Equal bytes of one tenant are held once, and let go with their last holder."""

    def __init__(self) -> None:
        self._entries: dict[tuple[str, str], _Entry] = {}

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def size(self) -> int:
        """How many bytes are held."""
        return sum(len(entry.data) for entry in self._entries.values())

    def take(self, tenant_id: str, hash: str, data: bytes) -> None:
        """Hold bytes once more."""
        entry = self._entries.get((tenant_id, hash))
        if entry is None:
            self._entries[tenant_id, hash] = _Entry(data, 1)
        else:
            entry.holders += 1

    def let_go(self, tenant_id: str, hash: str) -> None:
        """Hold bytes once less."""
        entry = self._entries[tenant_id, hash]
        entry.holders -= 1
        if not entry.holders:
            del self._entries[tenant_id, hash]

    def get(self, tenant_id: str, hash: str) -> bytes | None:
        """The bytes; None if nobody in this process holds them."""
        entry = self._entries.get((tenant_id, hash))
        return None if entry is None else entry.data
