"""Positions in Redis Streams: the ids of entries, as numbers that can be compared."""

from typing import TypeAlias

Position: TypeAlias = tuple[int, int]
"""Milliseconds, and the number within them. Entries are in its order."""
BEGINNING: Position = (0, 0)


def position(entry_id: str) -> Position:
    """The position an id stands for."""
    milliseconds, _, number = entry_id.partition("-")
    return int(milliseconds), int(number)


def entry_id(place: Position) -> str:
    """The id of a position."""
    return f"{place[0]}-{place[1]}"
