"""What the callers of a channel get in place of gRPC's own error."""

from collections.abc import Callable
from types import TracebackType

import grpc


class Boundary:
    """Turns the error a call ended with into the caller's own; without `translate` gRPC's goes on as it is.

    A context manager without state: one serves any number of calls at a time.
    """

    __slots__ = ("_translate",)

    def __init__(self, translate: Callable[[grpc.aio.AioRpcError], Exception] | None = None) -> None:
        self._translate = translate

    def told(self, error: grpc.aio.AioRpcError) -> Exception:
        """What the caller gets for an error of gRPC's."""
        return error if self._translate is None else self._translate(error)

    def __enter__(self) -> None:
        """Nothing to begin."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._translate is not None and isinstance(error, grpc.aio.AioRpcError):
            raise self._translate(error) from error


NONE = Boundary()
"""Of a channel that is used as gRPC's own."""
