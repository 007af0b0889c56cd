"""How a message crosses a local channel: as a copy, or as bytes with a socket's limits where the channel is strict."""

import re
from collections.abc import Callable
from typing import Any, TypeAlias

import grpc
from google.protobuf.message import Message

from services.mesh.transport.channel import Parse, Serialize
from services.mesh.transport.limits import METADATA_BYTES
from services.mesh.transport.local.outcome import Outcome, Pairs, failure

# Header names and values as gRPC over HTTP/2 allows them.
_KEY = re.compile(r"[0-9a-z_.-]+")
_VALUE = re.compile(r"[ -~]*")

Crossing: TypeAlias = Callable[[Any], Any]


class Oversize(Exception):
    """A message is larger than its receiver takes."""

    def outcome(self) -> Outcome:
        """The error that a socket gives."""
        return failure(grpc.StatusCode.RESOURCE_EXHAUSTED, str(self))


def copying(serialize: Serialize, parse: Parse) -> Crossing:
    """Crossing by copy, at half the cost of serialising; a message of an unexpected class crosses as bytes."""
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


def as_on_a_socket(serialize: Serialize, parse: Parse, receiver: str, most: int) -> Crossing:
    """Crossing as at most `most` bytes; a larger message raises Oversize, which names `receiver` (SERVER or CLIENT)."""
    as_bytes = _through_bytes(serialize, None)

    def cross(message: Any) -> Any:
        data = as_bytes(message)
        if len(data) > most:
            raise Oversize(f"{receiver}: Received message larger than max ({len(data)} vs. {most})")
        return parse(data) if parse else data

    return cross


def legal(metadata: Pairs) -> Pairs:
    """The metadata that a socket would deliver.

    Raises:
        ValueError: a key or value that HTTP/2 does not carry.
        TypeError: the value of a `-bin` key is not bytes.
    """
    return tuple(_legal(key, value) for key, value in metadata)


def _legal(key: str, value: str | bytes) -> tuple[str, str | bytes]:
    if not _KEY.fullmatch(key):
        raise ValueError(f"illegal metadata key {key!r}")
    if key.endswith("-bin"):
        if not isinstance(value, bytes):
            raise TypeError(f"the value of the binary metadata key {key!r} is not bytes")
        return key, value
    text = value.decode("ascii") if isinstance(value, bytes) else value
    if not _VALUE.fullmatch(text):
        raise ValueError(f"illegal value of the metadata key {key!r}")
    return key, text


def bounded(outcome: Outcome) -> Outcome:
    """The outcome that a socket's caller gets: trailers above the limit become an error."""
    size = len(outcome.details) + sum(len(key) + len(value) + 32 for key, value in outcome.trailing)
    if size <= METADATA_BYTES:
        return outcome
    return failure(grpc.StatusCode.RESOURCE_EXHAUSTED, "received trailing metadata size exceeds hard limit")


def _through_bytes(serialize: Serialize, parse: Parse) -> Crossing:
    def cross(message: Any) -> Any:
        data = serialize(message) if serialize else message
        return parse(data) if parse else data

    return cross
