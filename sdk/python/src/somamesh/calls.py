"""Calls that are ready to be made. What to ask and how to read the answer is said once, for both clients."""

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
        method: picks the stub's method.
        read: makes the answer a Python value.
        repeatable: made twice, it does what it does once; so it is made again when it may have failed in passing.
        timeout: seconds for all attempts together; None for the client's.
        slow: a model works on it, which takes longer than most calls.
    """

    method: Callable[[Stubs], Callable[..., Any]]
    request: Message
    read: Callable[[Any], T_co]
    repeatable: bool
    timeout: float | None
    slow: bool

    @property
    def name(self) -> str:
        """What the logs call it."""
        return named(self.request)


class Reader(Protocol[T_co]):
    """Takes the events of one stream as they come."""

    def take(self, event: Any) -> T_co | None:
        """Take one event; what it adds, if anything.

        Raises:
            APIError: the event says that the stream failed.
        """
        ...

    def end(self) -> None:
        """No further event comes.

        Raises:
            UnavailableError: one was still due.
        """
        ...


R_co = TypeVar("R_co", bound=Reader[object], covariant=True)


@dataclass(frozen=True, slots=True)
class Streaming(Generic[R_co]):
    """A call whose answer is a stream; asked twice, it would do twice what it does, so it is made once.

    Attributes:
        reader: makes what reads it, of the call's request id.
    """

    method: Callable[[Stubs], Callable[..., Any]]
    request: Message
    reader: Callable[[str], R_co]
    timeout: float | None

    @property
    def name(self) -> str:
        """What the logs call it."""
        return named(self.request)


@dataclass(frozen=True, slots=True)
class Page(Generic[T_co]):
    """A part of a list, and the token of the next; empty after the last."""

    items: Sequence[T_co]
    next_token: str


@dataclass(frozen=True, slots=True)
class Listing(Generic[T_co]):
    """A list that comes in pages; `page` makes the call for the one at a token."""

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
    """A call, its method, request and reader checked against each other."""
    return Call(method, request, read, repeatable, timeout, slow)


def as_it_is(answer: T) -> T:
    """Reads an answer as the contract has it."""
    return answer


def nothing(answer: Message) -> None:
    """Reads nothing of an answer that says only that it was done."""


def named(request: Message) -> str:
    """The name of the method a request is for."""
    return request.DESCRIPTOR.name.removesuffix("Request")
