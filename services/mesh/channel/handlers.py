"""The method handlers of a servicer, taken from its generated registration function without a server."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias, TypeVar

import grpc

Servicer = TypeVar("Servicer")
# A string, because the class is generic to type checkers only.
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"


class _Collector:
    """Stands where generated code expects a server."""

    def __init__(self) -> None:
        self.handlers: dict[str, Handler] = {}

    def add_generic_rpc_handlers(self, generic_rpc_handlers: Iterable[grpc.GenericRpcHandler]) -> None:
        """The same methods come by name through `add_registered_method_handlers`."""

    def add_registered_method_handlers(self, service_name: str, method_handlers: Mapping[str, Handler]) -> None:
        for name, handler in method_handlers.items():
            self.handlers[f"/{service_name}/{name}"] = handler


def handlers_of(add: Callable[[Servicer, Any], None], servicer: Servicer) -> dict[str, Handler]:
    """The handlers that `add` (`add_XServicer_to_server`) registers, by full method name, `/package.Service/Method`."""
    collector = _Collector()
    add(servicer, collector)
    return collector.handlers
