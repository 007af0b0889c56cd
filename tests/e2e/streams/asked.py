"""What every surface is asked for, and how each of them is read: piece by piece, until its final event."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from typing import TypeAlias

from tests.e2e.scripted import MODEL
from tests.e2e.stack import Stack


@dataclass(frozen=True)
class Ask:
    """A turn; without a conversation nothing of it is remembered. Where the client streams too, `until` ends it."""

    text: str = "hello"
    model: str = MODEL
    conversation: str = ""
    until: asyncio.Event | None = None


# The pieces of an answer as a client gets them. It ends by itself only after the final event, and raises what the
# client's library does otherwise; where there is no library, Refused or Cut.
Reader: TypeAlias = Callable[[Stack, Ask], AsyncGenerator[str, None]]


class Refused(Exception):
    """An error as it stood on the wire; `status` is HTTP's, or the name of gRPC's code."""

    def __init__(self, status: int | str, reason: str, retry_after: float | None = None) -> None:
        super().__init__(f"{status} {reason}")
        self.status = status
        self.reason = reason
        self.retry_after = retry_after


class Cut(Exception):
    """An answer that ended without its final event."""
