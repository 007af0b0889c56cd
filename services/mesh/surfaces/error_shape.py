"""The shape of a surface's errors: JSON with placeholders, from which all of its errors are made.

The service makes its own errors from it, and the gateway makes from it what Envoy answers on the surface's paths.
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
# They may hold a line's end, which a header may not.
_OF_ANY_TEXT = frozenset({"message", "field"})
_MOST_BYTES = 4096
_DEEPEST = 8
_HEADER = re.compile(r"[a-z][a-z0-9-]{0,62}")
_HEADER_VALUE = re.compile(r"[\x20-\x7e]{1,256}")
# What says how the answer is sent is not the surface's to say.
_RESERVED = frozenset({"connection", "content-length", "content-type", "transfer-encoding", "retry-after", "allow"})


def _as_it_is(text: str) -> str:
    return text


@dataclass(frozen=True)
class Stated:
    """An error as a surface states it; `body` is JSON."""

    status: int
    body: Json
    headers: Mapping[str, str]


@dataclass(frozen=True)
class ErrorShape:
    """How a surface states errors; `SurfaceErrors` of the contract says what each attribute means.

    Raises:
        ValueError: it is not as it has to be: an unknown placeholder, a body that is too large, a header of the
            gateway's own.
    """

    body: Json
    kinds: Mapping[int, Kind] = field(default_factory=dict)
    codes: Mapping[int, str] = field(default_factory=dict)
    statuses: Mapping[int, int] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.body or len(json.dumps(self.body)) > _MOST_BYTES:
            raise ValueError(f"the error shape is empty, or larger than {_MOST_BYTES} bytes of JSON")
        _require_known(self.body, _DEEPEST)
        _require_known(list(self.headers.values()), _DEEPEST, _PLACEHOLDERS - _OF_ANY_TEXT)
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
        literal: Callable[[str], str] = _as_it_is,
    ) -> Stated:
        """One error.

        Args:
            status: the HTTP status of the mesh.
            canonical: the status of gRPC, such as `UNAVAILABLE`.
            reason: empty where it says no more than the status.
            field: the field at fault.
            literal: applied to every text but those given here, which may be commands of Envoy's.
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
        """It, as the contract has it."""
        message = pb.SurfaceErrors(codes=self.codes, statuses=self.statuses, headers=self.headers)
        message.body.update(self.body)
        for status, kind in self.kinds.items():
            value = Value(string_value=kind) if isinstance(kind, str) else Value(number_value=kind)
            message.kinds[status].CopyFrom(value)
        return message


def read(message: pb.SurfaceErrors) -> ErrorShape:
    """The shape that the contract's message has; that of REST, where it has none.

    Raises:
        ValueError: it is not as it has to be.
    """
    if not message.HasField("body"):
        return REST
    kinds: dict[int, Kind] = {}
    # No JSON has NaN; a message with it is a ValueError here.
    body = MessageToDict(message.body)
    for status, value in message.kinds.items():
        if value.WhichOneof("kind") not in ("string_value", "number_value"):
            raise ValueError(f"the kind of {status} is neither a text nor a number")
        kinds[status] = MessageToDict(value)  # type: ignore[assignment]  # of a Value it is no dict
    return ErrorShape(body, kinds, dict(message.codes), dict(message.statuses), dict(message.headers))


def _require_known(value: Any, levels: int, known: frozenset[str] = _PLACEHOLDERS) -> None:
    """Refuse placeholders that are not known, and JSON that is nested too deeply."""
    if not levels:
        raise ValueError(f"the error shape is nested deeper than {_DEEPEST} levels")
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
    """The text with its placeholders filled in; what stands between them is literal."""
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
"""The shape of errors on REST, for a surface that has no shape of its own."""
