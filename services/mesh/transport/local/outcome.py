"""How a call ended for its caller: a status code with details and trailing metadata."""

from collections.abc import Iterable
from typing import NamedTuple, TypeAlias

import grpc

Pairs: TypeAlias = tuple[tuple[str, str | bytes], ...]


class Outcome(NamedTuple):
    """The end of a call."""

    code: grpc.StatusCode
    details: str
    trailing: Pairs
    debug: str | None

    def error(self, initial: Pairs) -> grpc.aio.AioRpcError:
        """The exception that gRPC raises for it; `initial` is the servicer's initial metadata."""
        return grpc.aio.AioRpcError(
            self.code, grpc.aio.Metadata(*initial), grpc.aio.Metadata(*self.trailing), self.details, self.debug
        )


def failure(code: grpc.StatusCode, details: str, trailing: Iterable[tuple[str, str | bytes]] = ()) -> Outcome:
    """An outcome other than OK, described as gRPC's core does it."""
    return Outcome(code, details, tuple(trailing), f"{code.name}:{details}" if details else code.name)


OK = Outcome(grpc.StatusCode.OK, "", (), "")
CANCELLED = Outcome(grpc.StatusCode.CANCELLED, "Locally cancelled by application!", (), None)
DROPPED = Outcome(grpc.StatusCode.CANCELLED, "Cancelled upon garbage collection!", (), None)
EXPIRED = failure(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded")
UNKNOWN_METHOD = failure(grpc.StatusCode.UNIMPLEMENTED, "Method not found!")
