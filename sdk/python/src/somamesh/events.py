"""Reads streams by the form the contracts give their events."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from somamesh.calls import Reader
from somamesh.failures import cut_off, stated

T = TypeVar("T")


@dataclass(slots=True)
class Events(Generic[T]):
    """Takes the events of one stream: heartbeats are passed over, an `error` is raised.

    Attributes:
        read: makes an item of the contract's message.
        item: the kind of event the stream is about; where it is empty, whole events are items.
        says_its_end: the stream ends with a `finished` or an `error`; without one it was cut. Else it may just end.
    """

    request_id: str
    read: Callable[[Any], T]
    item: str
    says_its_end: bool
    _finished: bool = False

    def take(self, event: Any) -> T | None:
        """The item of an event, if it has one.

        Raises:
            APIError: the event says that the stream failed.
        """
        if not self.says_its_end:
            return self.read(event)
        kind = event.WhichOneof("payload")
        if kind == "error":
            raise stated(event.error, self.request_id)
        self._finished = self._finished or kind == "finished"
        if self.item:
            return self.read(getattr(event, self.item)) if kind == self.item else None
        return None if kind == "heartbeat" else self.read(event)

    def end(self) -> None:
        """No further event comes.

        Raises:
            UnavailableError: one was still due.
        """
        if self.says_its_end and not self._finished:
            raise cut_off(self.request_id)


def events(read: Callable[[Any], T], *, item: str, says_its_end: bool) -> Callable[[str], Reader[T]]:
    """Makes what reads a stream, of the call's request id."""

    def reader(request_id: str) -> Reader[T]:
        return Events(request_id, read, item, says_its_end)

    return reader
