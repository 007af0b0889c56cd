"""Trouble that calls meet before any servicer is asked, so that no servicer knows of it."""

import inspect
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeVar

from google.protobuf.message import Message

from services.mesh.call.errors import MeshError

S = TypeVar("S")


class Trouble:
    """What calls meet before they are served: each is noted, and fails with the next of `failures`."""

    def __init__(self) -> None:
        self.failures: deque[MeshError] = deque()
        self.requests: list[Message] = []

    def before(self, servicer: S) -> S:
        """The servicer, to which calls come that passed this."""
        for contract in type(servicer).__mro__:
            if contract.__module__.endswith("_pb2_grpc"):
                for name in vars(contract):
                    if not name.startswith("_"):
                        setattr(servicer, name, self._passed(getattr(servicer, name)))
        return servicer

    def _passed(self, method: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        async def stream(request: Message, context: Any) -> AsyncIterator[Any]:
            self._meet(request)
            async for event in method(request, context):
                yield event

        async def unary(request: Message, context: Any) -> Any:
            self._meet(request)
            return await method(request, context)

        return stream if inspect.isasyncgenfunction(method) else unary

    def _meet(self, request: Message) -> None:
        self.requests.append(request)
        if self.failures:
            raise self.failures.popleft()
