"""A request as it arrives; no more bytes of it are kept than a request may have."""

from soma.errors.v1 import reasons

from services.mesh.call import errors
from services.mesh.transport.limits import METADATA_BYTES
from services.mesh.transport.unary import message
from services.mesh.transport.unary.metadata import Fields

# HTTP/2, and gRPC with it, adds this to the bytes of each field.
_FIELD_BYTES = 32


class Request:
    """Path, header fields and body.

    Attributes:
        fields: of the header.
        size: bytes of the body so far, also those that are not kept.
        whole_header: whether the header is complete. Later fields belong to a trailer. A unary call has none, and the
            gateway does not check trailers as it checks headers, so they are ignored.
    """

    __slots__ = ("_fields_bytes", "_limit", "_path", "_pieces", "fields", "size", "whole_header")

    def __init__(self, max_message_bytes: int) -> None:
        self._limit = max_message_bytes + message.PREFIX_BYTES
        self._path = b""
        self._fields_bytes = 0
        self._pieces: list[bytes] = []
        self.fields: Fields = []
        self.size = 0
        self.whole_header = False

    def add_path(self, piece: bytes) -> None:
        """Add a part of the path."""
        self._path += piece

    def add_field(self, name: bytes, value: bytes) -> None:
        """Add a field of the header; ignore one of a trailer."""
        if self.whole_header:
            return
        self._fields_bytes += len(name) + len(value) + _FIELD_BYTES
        self.fields.append((name.lower(), value))

    def add_body(self, piece: bytes) -> None:
        """Add a part of the body."""
        self.size += len(piece)
        if self.size <= self._limit:
            self._pieces.append(piece)

    @property
    def path(self) -> bytes:
        """The method's path, without a query."""
        return self._path.partition(b"?")[0]

    @property
    def body(self) -> bytes:
        """The whole body.

        Raises:
            ResourceExhausted: the body or the header is larger than allowed.
        """
        if self._fields_bytes > METADATA_BYTES:
            raise errors.ResourceExhausted("the headers are larger than allowed", reason=reasons.HEADERS_TOO_LARGE)
        if self.size > self._limit:
            raise message.too_large()
        return self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
