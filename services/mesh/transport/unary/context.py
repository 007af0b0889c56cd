"""The servicer's view of a unary call that came over HTTP/1.1: its `grpc.aio.ServicerContext`."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from time import monotonic
from typing import TYPE_CHECKING, Any, Never

import grpc

from services.mesh.call.status import CODES
from services.mesh.transport.tls.names import SPIFFE_ID
from services.mesh.transport.unary.metadata import Fields, Pairs, field_of, pairs_of, seconds_of

if TYPE_CHECKING:
    from services.mesh.transport.unary.connection import Connection

_OK = grpc.StatusCode.OK


class UnaryContext(grpc.aio.ServicerContext[Any, Any]):
    """What a servicer sees of a call on a connection, and what it has said of the answer so far."""

    __slots__ = (
        "_aborted",
        "_code",
        "_connection",
        "_deadline",
        "_details",
        "_done_callbacks",
        "_ended",
        "_fields",
        "_metadata",
        "_trailing",
        "compress",
    )

    def __init__(self, connection: "Connection", fields: Fields) -> None:
        self._connection = connection
        self._fields = fields
        self._metadata: Pairs | None = None
        self._trailing: Pairs = ()
        self._code: grpc.StatusCode | None = None
        self._details = ""
        self._aborted = False
        self._ended = False
        self._done_callbacks: list[Callable[[Any], None]] = []
        timeout = seconds_of(field_of(fields, b"grpc-timeout"))
        self._deadline = None if timeout is None else monotonic() + timeout
        self.compress = False

    def end(self) -> None:
        """The call is over, and its answer is on its way."""
        self._ended = True
        for callback in self._done_callbacks:
            callback(self)

    async def read(self) -> Never:
        """There is one request, and it was passed in."""
        raise grpc.aio.UsageError("This RPC takes one request: it was passed in.")

    async def write(self, message: Any) -> Never:
        """There is one response, and it is returned."""
        raise grpc.aio.UsageError("This RPC answers with one message: return it.")

    async def send_initial_metadata(self, initial_metadata: Iterable[tuple[str, str | bytes]]) -> None:
        """Send the initial metadata now; it can be sent once.

        Raises:
            ValueError: HTTP cannot carry it.
        """
        if self._connection.begun:
            raise grpc.aio.UsageError("Send initial metadata failed: already sent")
        self._connection.begin(tuple(initial_metadata), compressed=self.compress)

    async def abort(
        self, code: grpc.StatusCode, details: str = "", trailing_metadata: Iterable[tuple[str, str | bytes]] = ()
    ) -> Never:
        """End the call with an error; the first one counts."""
        if code is _OK:
            raise grpc.aio.UsageError("A call is not aborted with OK.")
        if not self._aborted:
            self._aborted = True
            self._code, self._details = code, details or self._details
            self._trailing = tuple(trailing_metadata) or self._trailing
        raise grpc.aio.AbortError("Locally aborted.")

    async def abort_with_status(self, status: grpc.Status) -> Never:
        """End the call with a status made by `grpc_status.rpc_status.to_status` or alike."""
        await self.abort(status.code, status.details, status.trailing_metadata or ())

    def set_trailing_metadata(self, trailing_metadata: Iterable[tuple[str, str | bytes]]) -> None:
        """Replace the trailing metadata."""
        self._trailing = tuple(trailing_metadata)

    def trailing_metadata(self) -> Any:
        """The trailing metadata set so far."""
        return self._trailing

    def invocation_metadata(self) -> Any:
        """The caller's metadata as pairs."""
        if self._metadata is None:
            self._metadata = pairs_of(self._fields)
        return self._metadata

    def set_code(self, code: grpc.StatusCode | int) -> None:
        """Declare the status the call is to end with; anything but OK drops a returned response."""
        self._code = CODES[code] if isinstance(code, int) else code

    def set_details(self, details: str) -> None:
        """Declare the status message."""
        self._details = details

    def code(self) -> Any:
        """The declared status; None without one."""
        return self._code

    def details(self) -> str:
        """The declared status message."""
        return self._details

    def cancelled(self) -> bool:
        """The gateway has closed the connection: its client is gone, or the call's time is over."""
        return self._connection.lost

    def done(self) -> bool:
        """The call has ended, or there is nobody left to answer."""
        return self._ended or self._connection.lost

    def time_remaining(self) -> Any:
        """Seconds left; None without a deadline."""
        return None if self._deadline is None else max(0.0, self._deadline - monotonic())

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        """Have `callback(context)` called when the call has ended."""
        self._done_callbacks.append(callback)

    def set_compression(self, compression: grpc.Compression) -> None:
        """Compress the response; whatever is asked for, it is gzip."""
        self.compress = compression is not grpc.Compression.NoCompression

    def disable_next_message_compression(self) -> None:
        """Do not compress the response, of which there is one."""
        self.compress = False

    def peer(self) -> str:
        """Where the connection comes from, in the form of gRPC's peers."""
        return self._connection.peer

    def peer_identities(self) -> Sequence[bytes] | None:
        """The SPIFFE ids of the certificate at the other end; None without one."""
        return self._connection.identities or None

    def peer_identity_key(self) -> str | None:
        """What kind they are of; None without a certificate."""
        return SPIFFE_ID if self._connection.identities else None

    def auth_context(self) -> Mapping[str, Iterable[bytes]]:
        """The same, by their kind."""
        return {SPIFFE_ID: self._connection.identities} if self._connection.identities else {}
