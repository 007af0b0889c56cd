"""The shape of a surface's errors: JSON with placeholders.

The service makes its errors from the shape, and the gateway makes Envoy's own answers on the surface's paths from it.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.json_format import MessageToDict
from google.protobuf.struct_pb2 import Value
from soma.mesh.v1 import surface_pb2 as pb

Json = dict[str, Any]
Kind = str | int

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_PLACEHOLDERS = frozenset({"message", "reason", "status", "canonical", "kind", "code", "field", "request_id"})
# Their values may have line breaks, which a header must not have.
_NOT_IN_HEADERS = frozenset({"message", "field"})
_MAX_BYTES = 4096
_MAX_DEPTH = 8
_HEADER = re.compile(r"[a-z][a-z0-9-]{0,62}")
_HEADER_VALUE = re.compile(r"[\x20-\x7e]{1,256}")
# Headers that Envoy or the server sets.
_RESERVED = frozenset({"connection", "content-length", "content-type", "transfer-encoding", "retry-after", "allow"})


def _unchanged(text: str) -> str:
    return text


@dataclass(frozen=True)
class Stated:
    """An error in the shape of a surface; `body` is JSON."""

    status: int
    body: Json
    headers: Mapping[str, str]


@dataclass(frozen=True)
class ErrorShape:
    """The shape of a surface's errors. The message `SurfaceErrors` of the contract describes each attribute.

    Raises:
        ValueError: the shape is not valid: it has an unknown placeholder, a body that is too large, or a header that
            only the gateway may set.
    """

    body: Json
    kinds: Mapping[int, Kind] = field(default_factory=dict)
    codes: Mapping[int, str] = field(default_factory=dict)
    statuses: Mapping[int, int] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.body or len(json.dumps(self.body)) > _MAX_BYTES:
            raise ValueError(f"the error shape is empty, or larger than {_MAX_BYTES} bytes of JSON")
        _require_known(self.body, _MAX_DEPTH)
        _require_known(list(self.headers.values()), _MAX_DEPTH, _PLACEHOLDERS - _NOT_IN_HEADERS)
        for status in (*self.kinds, *self.codes, *self.statuses, *self.statuses.values()):
            if not 400 <= status <= 599:
                raise ValueError(f"{status} is no HTTP status of an error")
        for name, value in self.headers.items():
            if not _HEADER.fullmatch(name) or name in _RESERVED or name.startswith(("x-envoy-", "x-soma-")):
                raise ValueError(f"{name!r} is no header that an error shape may have")
            if not _HEADER_VALUE.fullmatch(value):
                raise ValueError(f"the header {name} has no value that can be sent: {value!r}")

    def stated(
        self,
        status: int,
        *,
        canonical: str,
        reason: str,
        message: str,
        field: str | None = None,
        request_id: str = "",
        literal: Callable[[str], str] = _unchanged,
    ) -> Stated:
        """An error in this shape.

        Args:
            status: the HTTP status that the mesh gives the error.
            canonical: the gRPC status, such as `UNAVAILABLE`.
            reason: empty if it says no more than the status.
            field: the field at fault.
            literal: applied to every text of the shape; the arguments themselves may be commands for Envoy.
        """
        sent = self.statuses.get(status, status)
        kind = self.kinds.get(sent, self.kinds.get(sent // 100 * 100))
        code = self.codes.get(sent) or reason.lower() or None
        values = {
            "message": message,
            "reason": reason or None,
            "status": sent,
            "canonical": canonical,
            "kind": literal(kind) if isinstance(kind, str) else kind,
            "code": literal(code) if code else None,
            "field": field,
            "request_id": request_id,
        }
        body = _filled(self.body, values, literal)
        headers = {name: _text(value, values, literal) for name, value in self.headers.items()}
        return Stated(sent, body, headers)

    def announced(self) -> pb.SurfaceErrors:
        """The shape as the message of the contract."""
        message = pb.SurfaceErrors(codes=self.codes, statuses=self.statuses, headers=self.headers)
        message.body.update(self.body)
        for status, kind in self.kinds.items():
            value = Value(string_value=kind) if isinstance(kind, str) else Value(number_value=kind)
            message.kinds[status].CopyFrom(value)
        return message


def read(message: pb.SurfaceErrors) -> ErrorShape:
    """The shape in a message of the contract; a message without a body means the shape of REST.

    Everything is in the order of its keys. Maps of a message have another order in each process, and Envoy would drain
    its listener for a configuration that differs in nothing else.

    Raises:
        ValueError: the shape is not valid.
    """
    if not message.HasField("body"):
        return REST
    kinds: dict[int, Kind] = {}
    # JSON has no NaN: if the message has one, this raises a ValueError.
    body = _in_order(MessageToDict(message.body))
    for status, value in sorted(message.kinds.items()):
        if value.WhichOneof("kind") not in ("string_value", "number_value"):
            raise ValueError(f"the kind of {status} is neither a text nor a number")
        kinds[status] = MessageToDict(value)  # type: ignore[assignment]  # a Value gives a text or a number
    codes, statuses = dict(sorted(message.codes.items())), dict(sorted(message.statuses.items()))
    headers = dict(sorted(message.headers.items()))
    return ErrorShape(body, kinds, codes, statuses, headers)


def _in_order(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _in_order(each) for name, each in sorted(value.items())}
    if isinstance(value, list):
        return [_in_order(each) for each in value]
    return value


def _require_known(value: Any, levels: int, known: frozenset[str] = _PLACEHOLDERS) -> None:
    """Refuse unknown placeholders, and JSON that is nested too deeply."""
    if not levels:
        raise ValueError(f"the error shape is nested deeper than {_MAX_DEPTH} levels")
    if isinstance(value, str):
        if unknown := set(_PLACEHOLDER.findall(value)) - known:
            raise ValueError(f"there is no placeholder {{{min(unknown)}}} here; there are {', '.join(sorted(known))}")
    elif isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            _require_known(each, levels - 1, known)


def _filled(value: Any, values: Mapping[str, Any], literal: Callable[[str], str]) -> Any:
    if isinstance(value, dict):
        return {name: _filled(each, values, literal) for name, each in value.items()}
    if isinstance(value, list):
        return [_filled(each, values, literal) for each in value]
    if isinstance(value, str):
        alone = _PLACEHOLDER.fullmatch(value)
        return values[alone[1]] if alone else _text(value, values, literal)
    return value


def _text(text: str, values: Mapping[str, Any], literal: Callable[[str], str]) -> str:
    """The text with the values of its placeholders; `literal` is applied to the text between them."""
    filled: list[str] = []
    end = 0
    for found in _PLACEHOLDER.finditer(text):
        value = values[found[1]]
        filled += (literal(text[end : found.start()]), "" if value is None else str(value))
        end = found.end()
    return "".join((*filled, literal(text[end:])))


REST = ErrorShape(
    {
        "error": {
            "code": "{status}",
            "status": "{canonical}",
            "message": "{message}",
            "details": [
                {
                    "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                    "reason": "{reason}",
                    "domain": "soma",
                    "metadata": {},
                }
            ],
        }
    }
)
"""The shape of REST, for surfaces without a shape of their own."""
