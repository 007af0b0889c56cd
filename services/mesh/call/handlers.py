"""Collects the handlers that generated `add_XServicer_to_server` functions register."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from services.mesh.call.call import arrived
from services.mesh.call.pipeline import UNREADABLE, Handler
from services.mesh.service import Registration


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
    """Handlers of servicers, by path (`/package.Service/Method`)."""
    collector: Any = _Collector()
    for add, servicer in servicers:
        add(servicer, collector)
    handlers: dict[str, Handler] = collector.handlers
    return handlers


def service_names(handlers: Mapping[str, Handler]) -> list[str]:
    """Full names of the proto services among handlers, sorted."""
    return sorted({path.split("/")[1] for path in handlers})


class _Table(grpc.GenericRpcHandler):
    """Finds handlers by path."""

    def __init__(self, handlers: Mapping[str, Handler]) -> None:
        self._handlers = dict(handlers)

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "Handler | None":
        """The handler of a call; None makes gRPC answer UNIMPLEMENTED."""
        # In the task of the call: its servicer runs in the same one.
        arrived.set(handler_call_details.invocation_metadata)
        return self._handlers.get(handler_call_details.method)


def register(server: grpc.aio.Server, handlers: Mapping[str, Handler]) -> None:
    """Serve handlers on a real server.

    Not as generated code does it, which also registers each method by itself: grpc.aio then waits for each method's
    next call by itself, and puts all these waits up and down again for every call of any of them.
    """
    server.add_generic_rpc_handlers((_Table(handlers),))


def decoding(handlers: Mapping[str, Handler]) -> dict[str, Handler]:
    """The same handlers, to which what is no message of the contract comes as `UNREADABLE`."""
    return {path: _decoding(handler) for path, handler in handlers.items()}


def _decoding(handler: Any) -> Handler:
    """Left to gRPC, bytes that are no message would be an UNKNOWN error of ours, in Python's words."""
    decode: Callable[[bytes], Any] = handler.request_deserializer

    def decode_or_mark(data: bytes) -> Any:
        try:
            return decode(data)
        except DecodeError:
            return UNREADABLE

    decoding: Handler = handler._replace(request_deserializer=decode_or_mark)
    return decoding
