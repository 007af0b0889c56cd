"""The servicer's view of a unary call that came over HTTP/1.1: its `grpc.aio.ServicerContext`."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from time import monotonic
from typing import Any, NamedTuple, Never

import grpc

from services.mesh.call.process_name import SPIFFE_ID
from services.mesh.call.status import CODES
from services.mesh.transport.unary.metadata import Fields, Pairs, field_of, pairs_of, seconds_of

_OK = grpc.StatusCode.OK


class Peer(NamedTuple):
    """The other end of a connection: its address as gRPC writes it, and the SPIFFE ids of its certificate, if any."""

    address: str
    identities: list[bytes]


class UnaryContext(grpc.aio.ServicerContext[Any, Any]):
    """What a servicer sees of a call on a connection, and what it has said of the answer so far.

    Args:
        fields: the header of the request.
        peer: the other end of the connection.
        begin: sends the head of the answer: initial metadata, and whether the message is compressed.

    Attributes:
        begun: whether the head of the answer is sent.
        compress: whether the response is to be compressed.
        lost: whether the connection is closed.
    """

    __slots__ = (
        "_aborted",
        "_begin",
        "_code",
        "_deadline",
        "_details",
        "_done_callbacks",
        "_ended",
        "_fields",
        "_metadata",
        "_peer",
        "_trailing",
        "begun",
        "compress",
        "lost",
    )

    def __init__(self, fields: Fields, peer: Peer, begin: Callable[[Pairs, bool], None]) -> None:
        self._fields = fields
        self._peer = peer
        self._begin = begin
        self.begun = False
        self.lost = False
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
        """Note that the call is over and its answer is sent."""
        self._ended = True
        for callback in self._done_callbacks:
            callback(self)

    async def read(self) -> Never:
        """Refuse: the one request was passed to the servicer."""
        raise grpc.aio.UsageError("This RPC takes one request: it was passed in.")

    async def write(self, message: Any) -> Never:
        """Refuse: the servicer returns the one response."""
        raise grpc.aio.UsageError("This RPC answers with one message: return it.")

    async def send_initial_metadata(self, initial_metadata: Iterable[tuple[str, str | bytes]]) -> None:
        """Send the initial metadata now; it can be sent once.

        Raises:
            ValueError: HTTP cannot carry it.
        """
        if self.begun:
            raise grpc.aio.UsageError("Send initial metadata failed: already sent")
        self._begin(tuple(initial_metadata), self.compress)
        self.begun = True

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
        """End the call with a status, for example one of `grpc_status.rpc_status.to_status`."""
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
        """Set the status the call is to end with; if it is not OK, a returned response is dropped."""
        self._code = CODES[code] if isinstance(code, int) else code

    def set_details(self, details: str) -> None:
        """Set the status message."""
        self._details = details

    def code(self) -> Any:
        """The status that was set; None without one."""
        return self._code

    def details(self) -> str:
        """The status message that was set."""
        return self._details

    def cancelled(self) -> bool:
        """Whether the gateway has closed the connection: its client is gone, or the deadline has passed."""
        return self.lost

    def done(self) -> bool:
        """Whether the call has ended, or the connection is closed."""
        return self._ended or self.lost

    def time_remaining(self) -> Any:
        """Seconds left; None without a deadline."""
        return None if self._deadline is None else max(0.0, self._deadline - monotonic())

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        """Have `callback(context)` called when the call has ended."""
        self._done_callbacks.append(callback)

    def set_compression(self, compression: grpc.Compression) -> None:
        """Compress the response, always with gzip."""
        self.compress = compression is not grpc.Compression.NoCompression

    def disable_next_message_compression(self) -> None:
        """Do not compress the response."""
        self.compress = False

    def peer(self) -> str:
        """The address of the other end of the connection, in gRPC's form."""
        return self._peer.address

    def peer_identities(self) -> Sequence[bytes] | None:
        """The SPIFFE ids of the certificate at the other end; None without one."""
        return self._peer.identities or None

    def peer_identity_key(self) -> str | None:
        """The kind of these identities; None without a certificate."""
        return SPIFFE_ID if self._peer.identities else None

    def auth_context(self) -> Mapping[str, Iterable[bytes]]:
        """The identities by their kind."""
        return {SPIFFE_ID: self._peer.identities} if self._peer.identities else {}
