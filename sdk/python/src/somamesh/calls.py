"""Calls that are ready to be made: a request, and how to read its answer. Both clients use them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import grpc
from google.protobuf.message import Message

from somamesh.generated.stubs import Stubs

Asked = TypeVar("Asked", bound=Message)
Answered = TypeVar("Answered", bound=Message)
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Call(Generic[T_co]):
    """A call with one answer.

    Attributes:
        method: picks the method of the stubs.
        read: converts the answer into a Python value.
        repeatable: the call is idempotent, so it is retried after a temporary failure.
        timeout: seconds for all attempts together; None for the client's timeout.
        slow: a model answers the call, which takes longer than other calls.
    """

    method: Callable[[Stubs], Callable[..., Any]]
    request: Message
    read: Callable[[Any], T_co]
    repeatable: bool
    timeout: float | None
    slow: bool

    @property
    def name(self) -> str:
        """The name of the method, for the logs."""
        return method_name(self.request)


class Reader(Protocol[T_co]):
    """Reads the events of one stream as they arrive."""

    def take(self, event: Any) -> T_co | None:
        """Take one event and return the item that it adds, or None.

        Raises:
            APIError: the event reports that the stream failed.
        """
        ...

    def end(self) -> None:
        """Check that the stream is complete, when no more events come.

        Raises:
            UnavailableError: the final event is missing.
        """
        ...


R_co = TypeVar("R_co", bound=Reader[object], covariant=True)


@dataclass(frozen=True, slots=True)
class Streaming(Generic[R_co]):
    """A call whose answer is a stream. It is never retried, because a second attempt could act twice.

    Attributes:
        reader: makes the reader of the stream from the request id of the call.
    """

    method: Callable[[Stubs], Callable[..., Any]]
    request: Message
    reader: Callable[[str], R_co]
    timeout: float | None

    @property
    def name(self) -> str:
        """The name of the method, for the logs."""
        return method_name(self.request)


@dataclass(frozen=True, slots=True)
class Page(Generic[T_co]):
    """One page of a list, and the token of the next page; the token is empty after the last page."""

    items: Sequence[T_co]
    next_token: str


@dataclass(frozen=True, slots=True)
class Listing(Generic[T_co]):
    """A list that comes in pages; `page` makes the call for the page with a token."""

    page: Callable[[str], Call[Page[T_co]]]


def unary(
    method: "Callable[[Stubs], grpc.UnaryUnaryMultiCallable[Asked, Answered]]",
    request: Asked,
    read: Callable[[Answered], T],
    *,
    repeatable: bool,
    timeout: float | None,
    slow: bool = False,
) -> Call[T]:
    """Make a `Call`; the type checker compares the types of method, request and reader."""
    return Call(method, request, read, repeatable, timeout, slow)


def unchanged(answer: T) -> T:
    """Return an answer as the message of the contract."""
    return answer


def no_value(answer: Message) -> None:
    """Return None for an answer without data."""


def method_name(request: Message) -> str:
    """The name of the method that takes a request."""
    return request.DESCRIPTOR.name.removesuffix("Request")
