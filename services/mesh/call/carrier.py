"""What travels with a call of this process: its timeout, and over a socket the signed principal and the trace."""

from collections.abc import Sequence
from typing import Protocol, TypeAlias

import grpc

from services.mesh.call.call import Call, current_call
from services.mesh.call.token import METADATA_KEY, Signer

Metadata: TypeAlias = grpc.aio.Metadata | Sequence[tuple[str, str | bytes]]


class Carrier(Protocol):
    """Says what travels with a call. It is asked at the start of each call, in the caller's context."""

    def timeout(self, given: float | None) -> float | None:
        """Seconds the call may take, `given` being its caller's wish; None for no deadline; 0 or less expires it."""

    def metadata(self, given: Metadata | None) -> Metadata | None:
        """The metadata to send, `given` being the caller's own."""


class LocalCarrier:
    """`Carrier` of calls that stay in the process: principal and trace travel as the caller's `Call` itself."""

    def timeout(self, given: float | None) -> float | None:
        """The smaller of the timeout that the caller gives and the time it has left itself."""
        call = current_call()
        if call is None or call.deadline is None:
            return given
        remaining = call.remaining()
        return remaining if given is None or (remaining is not None and remaining < given) else given

    def metadata(self, given: Metadata | None) -> Metadata | None:
        """The caller's metadata, unchanged."""
        return given


class RemoteCarrier(LocalCarrier):
    """`Carrier` of calls that leave the process: the principal is signed, the trace is a `traceparent`."""

    def __init__(self, signer: Signer) -> None:
        self._signer = signer

    def metadata(self, given: Metadata | None) -> Metadata | None:
        """The caller's metadata, and behind it the signed principal and the trace."""
        call = current_call()
        added: list[tuple[str, str | bytes]] = list(given or ())
        added.append((METADATA_KEY, self._token(call)))
        if call is not None and call.trace is not None:
            added.append(("traceparent", call.trace.traceparent))
        return added

    def _token(self, call: Call | None) -> str:
        return self._signer.sign(None) if call is None else self._signer.sign(call.principal, inside=call.inside)
