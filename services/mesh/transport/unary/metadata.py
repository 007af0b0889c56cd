"""gRPC's metadata, timeouts and statuses as HTTP header fields, both ways.

Source: PROTOCOL-HTTP2 of gRPC, whose fields are the same over HTTP/1.1.
"""

import binascii
import re
from base64 import b64decode, b64encode
from collections.abc import Iterable
from typing import TypeAlias
from urllib.parse import quote

from soma.errors.v1 import reasons

from services.mesh.call import errors

Fields: TypeAlias = list[tuple[bytes, bytes]]
"""Header fields of a request, their names in lower case."""
Pairs: TypeAlias = tuple[tuple[str, str | bytes], ...]

# Fields of the transport, which are no metadata of the call.
_OF_THE_TRANSPORT = frozenset(
    {
        *(b"host", b"connection", b"content-length", b"content-type", b"transfer-encoding", b"te"),
        *(b"grpc-timeout", b"grpc-encoding", b"grpc-accept-encoding", b"grpc-status", b"grpc-message"),
    }
)
_KEY = re.compile(r"[0-9a-z_.-]+")
_VALUE = re.compile(r"[ -~]*")
_TIMEOUT = re.compile(rb"(\d{1,8})([HMSmun])")
_SECONDS = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
# The characters of a message that are not encoded: every printable one but the percent sign.
_PLAIN = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) != "%")


def pairs_of(fields: Fields) -> Pairs:
    """The metadata among the fields of a request, in their order; values of `-bin` keys as the bytes they stand for.

    Raises:
        InvalidArgument: the value of a `-bin` key is not base64.
    """
    pairs: list[tuple[str, str | bytes]] = []
    for name, value in fields:
        if name in _OF_THE_TRANSPORT:
            continue
        key = name.decode("latin-1")
        if name.endswith(b"-bin"):
            # A proxy may have joined the values of one key.
            pairs += ((key, _binary(part.strip())) for part in value.split(b","))
        else:
            pairs.append((key, _text(value)))
    return tuple(pairs)


def field_of(fields: Fields, name: bytes) -> bytes:
    """The first value of a field; empty without one."""
    for key, value in fields:
        if key == name:
            return value
    return b""


def seconds_of(timeout: bytes) -> float | None:
    """The seconds of a `grpc-timeout`; None if it is missing or malformed."""
    match = _TIMEOUT.fullmatch(timeout)
    return None if match is None else int(match[1]) * _SECONDS[match[2]]


def lines_of(pairs: Iterable[tuple[str, str | bytes]]) -> bytes:
    """Metadata as lines of a header or trailer.

    Raises:
        ValueError: a key or value that HTTP cannot carry; a line break in it could make two fields of one.
    """
    return b"".join(_line(key, value) for key, value in pairs)


def status_lines(code: int, message: str) -> bytes:
    """How a call ended, as lines of a header or trailer."""
    if not message:
        return b"grpc-status: %d\r\n" % code
    return b"grpc-status: %d\r\ngrpc-message: %s\r\n" % (code, _quoted(message))


def _quoted(message: str) -> bytes:
    # HTTP drops spaces at both ends of a field.
    text = message.strip(" ")
    start, _, end = message.partition(text) if text else (message, "", "")
    return quote(start).encode() + quote(text, safe=_PLAIN).encode() + quote(end).encode()


def _line(key: str, value: str | bytes) -> bytes:
    if _KEY.fullmatch(key) is None or key.encode() in _OF_THE_TRANSPORT:
        raise ValueError(f"not a key of metadata: {key!r}")
    if key.endswith("-bin"):
        content = b64encode(value if isinstance(value, bytes) else value.encode()).rstrip(b"=")
    elif isinstance(value, str) and _VALUE.fullmatch(value) is not None:
        content = value.encode()
    else:
        raise ValueError(f"not a value of metadata: {value!r} of {key}")
    return b"%s: %s\r\n" % (key.encode(), content)


def _binary(value: bytes) -> bytes:
    try:
        # The padding may be missing.
        return b64decode(value + b"=" * (-len(value) % 4), validate=True)
    except binascii.Error:
        raise errors.InvalidArgument(
            "metadata of a -bin key is not base64", reason=reasons.METADATA_MALFORMED
        ) from None


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")
