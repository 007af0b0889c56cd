"""Translates gRPC's own error where it would reach the caller of a channel."""

from collections.abc import Callable
from types import TracebackType

import grpc


class Boundary:
    """Replaces the error that a call ended with by the one that `translate` makes; without it gRPC's error stays.

    It is a context manager without state, so one is enough for any number of calls.
    """

    __slots__ = ("_translate",)

    def __init__(self, translate: Callable[[grpc.aio.AioRpcError], Exception] | None = None) -> None:
        self._translate = translate

    def translated(self, error: grpc.aio.AioRpcError) -> Exception:
        """The exception that the caller gets for an error of gRPC."""
        return error if self._translate is None else self._translate(error)

    def __enter__(self) -> None:
        """Do nothing: only the end of the block matters."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._translate is not None and isinstance(error, grpc.aio.AioRpcError):
            raise self._translate(error) from error


NONE = Boundary()
"""For a channel that raises gRPC's own errors."""
