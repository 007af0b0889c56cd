"""How a message crosses a local channel: as a copy, or strictly, as bytes with a socket's limits."""

from collections.abc import Callable
from typing import Any, TypeAlias

import grpc
from google.protobuf.message import Message

from services.mesh.channel.limits import MESSAGE_BYTES, METADATA_BYTES
from services.mesh.channel.outcome import Outcome, failure

Crossing: TypeAlias = Callable[[Any], Any]
Serialize: TypeAlias = Callable[[Any], bytes] | None
Parse: TypeAlias = Callable[[bytes], Any] | None


class Oversize(Exception):
    """A message is larger than its receiver takes."""

    def outcome(self) -> Outcome:
        """What a socket answers."""
        return failure(grpc.StatusCode.RESOURCE_EXHAUSTED, str(self))


def copying(serialize: Serialize, parse: Parse) -> Crossing:
    """Crossing by copy, half the price of serialising; what is not of the expected class still goes as bytes."""
    through_bytes = _through_bytes(serialize, parse)
    kind = getattr(parse, "__self__", None)
    if not (isinstance(kind, type) and issubclass(kind, Message)):
        return through_bytes
    expected: type[Message] = kind

    def cross(message: Any) -> Any:
        if message.__class__ is not expected:
            return through_bytes(message)
        copy = expected()
        copy.CopyFrom(message)
        return copy

    return cross


def as_on_a_socket(serialize: Serialize, parse: Parse, receiver: str) -> Crossing:
    """Crossing as bytes with a socket's limit, past which it raises Oversize in the name of SERVER or CLIENT."""
    as_bytes = _through_bytes(serialize, None)

    def cross(message: Any) -> Any:
        data = as_bytes(message)
        if len(data) > MESSAGE_BYTES:
            raise Oversize(f"{receiver}: Received message larger than max ({len(data)} vs. {MESSAGE_BYTES})")
        return parse(data) if parse else data

    return cross


def bounded(outcome: Outcome) -> Outcome:
    """The outcome a socket's caller sees: trailers beyond the limit replace it."""
    size = len(outcome.details) + sum(len(key) + len(value) + 32 for key, value in outcome.trailing)
    if size <= METADATA_BYTES:
        return outcome
    return failure(grpc.StatusCode.RESOURCE_EXHAUSTED, "received trailing metadata size exceeds hard limit")


def _through_bytes(serialize: Serialize, parse: Parse) -> Crossing:
    def cross(message: Any) -> Any:
        data = serialize(message) if serialize else message
        return parse(data) if parse else data

    return cross
