"""What an interceptor is: up to three plain functions for each method."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from google.protobuf.message import Message

from services.mesh.call.call import Call
from services.mesh.call.errors import MeshError
from services.mesh.call.method import Method

Enter = Callable[[Call], Awaitable[None] | None]
Received = Callable[[Call, Message], None]
Leave = Callable[[Call, MeshError | None], None]


@dataclass(frozen=True, slots=True)
class Hooks:
    """What one interceptor does for one method.

    `enter` runs before the servicer and may return an awaitable; `received` gets each request message; `leave` runs
    exactly once, at the end, with the error the call ended with, or None. An exception of the first two ends the call.
    """

    enter: Enter | None = None
    received: Received | None = None
    leave: Leave | None = None


Interceptor = Callable[[Method], Hooks]
