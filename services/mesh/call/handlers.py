"""The handlers of servicers, by path (`/package.Service/Method`)."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import grpc
from google.protobuf.message import DecodeError

from services.mesh.call.pipeline import UNREADABLE, Handler

Registration: TypeAlias = tuple[Callable[[Any, grpc.aio.Server], None], object]
"""A servicer, behind the generated `add_XServicer_to_server` that adds it to a server."""


class _Collector:
    """Stands in for a server while servicers are registered."""

    def __init__(self) -> None:
        self.handlers: dict[str, Handler] = {}

    def add_generic_rpc_handlers(self, handlers: Sequence[object]) -> None:
        """Ignored: the registered form below names every method."""

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Handler]) -> None:
        """Keep the handlers by path."""
        self.handlers.update({f"/{service}/{name}": handler for name, handler in handlers.items()})


def collect(servicers: Sequence[Registration]) -> dict[str, Handler]:
    """The handlers of servicers, by path."""
    collector: Any = _Collector()
    for add, servicer in servicers:
        add(servicer, collector)
    handlers: dict[str, Handler] = collector.handlers
    return handlers


def service_names(handlers: Mapping[str, Handler]) -> list[str]:
    """Full names of the proto services among handlers, sorted."""
    return sorted({path.split("/")[1] for path in handlers})


def decoding(handlers: Mapping[str, Handler]) -> dict[str, Handler]:
    """The same handlers; for bytes that are no message of the contract they get `UNREADABLE` as the request."""
    return {path: _decoding(handler) for path, handler in handlers.items()}


def _decoding(handler: Any) -> Handler:
    """Mark such bytes: gRPC itself would answer with UNKNOWN and the text of the exception."""
    decode: Callable[[bytes], Any] = handler.request_deserializer

    def decode_or_mark(data: bytes) -> Any:
        try:
            return decode(data)
        except DecodeError:
            return UNREADABLE

    decoding: Handler = handler._replace(request_deserializer=decode_or_mark)
    return decoding
