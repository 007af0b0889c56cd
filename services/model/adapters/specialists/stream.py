"""The end of a stream of events."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from soma.errors.v1 import reasons

from services.mesh.call.errors import MeshError
from services.model.adapters import refusal
from services.model.adapters.sse import EventParser

T = TypeVar("T")


def ended(provider: str, events: EventParser, read: Callable[[Sequence[bytes]], list[T]]) -> list[T]:
    """What a last event tells that has no blank line after it; the event may be incomplete.

    Raises:
        Unavailable: PROVIDER_STREAM_CUT, it is incomplete.
        MeshError: it is an error.
    """
    try:
        return read(events.end())
    except MeshError as error:
        if error.reason != reasons.PROVIDER_PROTOCOL_ERROR:
            raise
        raise refusal.stream_cut(provider) from error
