"""Reads the streams of the contracts; their events have a common form."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from somamesh.calls import Reader
from somamesh.failures import cut_off, from_stream_error

T = TypeVar("T")


@dataclass(slots=True)
class Events(Generic[T]):
    """Reads the events of one stream: it skips heartbeats and raises an `error`.

    Attributes:
        read: makes an item from the message of the contract.
        item: name of the payload that holds the items; when it is empty, the whole events are the items.
        has_final_event: a complete stream ends with `finished` or `error`; otherwise it may end without an event.
    """

    request_id: str
    read: Callable[[Any], T]
    item: str
    has_final_event: bool
    _finished: bool = False

    def take(self, event: Any) -> T | None:
        """Take one event and return its item, or None.

        Raises:
            APIError: the event reports that the stream failed.
        """
        if not self.has_final_event:
            return self.read(event)
        kind = event.WhichOneof("payload")
        if kind == "error":
            raise from_stream_error(event.error, self.request_id)
        self._finished = self._finished or kind == "finished"
        if self.item:
            return self.read(getattr(event, self.item)) if kind == self.item else None
        return None if kind == "heartbeat" else self.read(event)

    def end(self) -> None:
        """Check that the stream is complete, when no more events come.

        Raises:
            UnavailableError: the final event is missing.
        """
        if self.has_final_event and not self._finished:
            raise cut_off(self.request_id)


def events(read: Callable[[Any], T], *, item: str, has_final_event: bool) -> Callable[[str], Reader[T]]:
    """A function that makes the reader of a stream from the request id of its call."""

    def reader(request_id: str) -> Reader[T]:
        return Events(request_id, read, item, has_final_event)

    return reader
