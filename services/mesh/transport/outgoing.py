"""What every outgoing call takes along, on any transport: the time it may take and the metadata it carries."""

from collections.abc import Sequence
from typing import Protocol, TypeAlias

import grpc

Metadata: TypeAlias = grpc.aio.Metadata | Sequence[tuple[str, str | bytes]]


class Outgoing(Protocol):
    """Asked at the start of each call, in the caller's context."""

    def timeout(self, given: float | None) -> float | None:
        """Seconds the call may take, `given` being its caller's wish; None for no deadline; 0 or less expires it."""

    def metadata(self, given: Metadata | None) -> Metadata | None:
        """The metadata to send, `given` being the caller's own."""
