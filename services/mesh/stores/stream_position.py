"""Positions in Redis Streams: the ids of entries as numbers, which can be compared."""

from typing import TypeAlias

Position: TypeAlias = tuple[int, int]
"""Milliseconds, and the number within the millisecond. Entries are in this order."""
BEGINNING: Position = (0, 0)


def position(entry_id: str) -> Position:
    """The position of an id."""
    milliseconds, _, number = entry_id.partition("-")
    return int(milliseconds), int(number)


def entry_id(place: Position) -> str:
    """The id of a position."""
    return f"{place[0]}-{place[1]}"
