"""What a call of ours takes along: the time its caller has left; on a socket also who it runs as, and its trace."""

from collections.abc import Sequence
from typing import TypeAlias

import grpc

from services.mesh.call.call import current_call
from services.mesh.call.token import METADATA_KEY, Signer

Metadata: TypeAlias = "grpc.aio.Metadata | Sequence[tuple[str, str | bytes]] | None"


class LocalCarrier:
    """For calls that stay in the process: principal and trace travel as the caller's `Call` itself."""

    def timeout(self, given: float | None) -> float | None:
        """The smaller of what the caller gives and what it has left itself."""
        call = current_call()
        if call is None or call.deadline is None:
            return given
        remaining = call.remaining()
        return remaining if given is None or (remaining is not None and remaining < given) else given

    def metadata(self, given: Metadata) -> Metadata:
        """Nothing is added."""
        return given


class RemoteCarrier(LocalCarrier):
    """For calls that leave the process: principal signed, trace as `traceparent`."""

    def __init__(self, signer: Signer) -> None:
        self._signer = signer

    def metadata(self, given: Metadata) -> Metadata:
        """The caller's metadata with ours behind it."""
        call = current_call()
        ours: list[tuple[str, str | bytes]] = list(given or ())
        ours.append((METADATA_KEY, self._signer.sign(call.principal if call is not None else None)))
        if call is not None and call.trace is not None:
            ours.append(("traceparent", call.trace.traceparent))
        return ours
