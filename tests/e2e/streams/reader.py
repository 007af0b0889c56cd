"""The question to every surface, and the type of the functions that read the answers."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from typing import TypeAlias

from tests.e2e.scripted import MODEL
from tests.e2e.stack import Stack


@dataclass(frozen=True)
class Ask:
    """A turn. Without a conversation it is not remembered. If the client streams too, `until` ends its stream."""

    text: str = "hello"
    model: str = MODEL
    conversation: str = ""
    until: asyncio.Event | None = None


# Reads an answer piece by piece. It ends normally only after the final event. Otherwise it raises the error of the
# client's library; readers without a library raise Refused or Cut.
Reader: TypeAlias = Callable[[Stack, Ask], AsyncGenerator[str, None]]


class Refused(Exception):
    """An error as it came over the wire; `status` is the HTTP status, or the name of the gRPC code."""

    def __init__(self, status: int | str, reason: str, retry_after: float | None = None) -> None:
        super().__init__(f"{status} {reason}")
        self.status = status
        self.reason = reason
        self.retry_after = retry_after


class Cut(Exception):
    """The answer ended without its final event."""
