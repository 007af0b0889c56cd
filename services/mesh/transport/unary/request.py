"""A request as it arrives, of which no more is kept than may be asked for."""

from soma.errors.v1 import reasons

from services.mesh.call import errors
from services.mesh.transport.limits import METADATA_BYTES
from services.mesh.transport.unary import message
from services.mesh.transport.unary.metadata import Fields

# How HTTP/2 counts a field, and gRPC with it: its bytes, and so many more.
_FIELD_BYTES = 32


class Request:
    """Path, header fields and body.

    Attributes:
        fields: of the header.
        size: bytes of the body so far, those that are not kept among them.
        whole_header: whether the header has come to its end. What comes later under a name is a trailer, of which a
            call has none: the gateway does not look into those as it does into headers.
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
        """Some of its path."""
        self._path += piece

    def add_field(self, name: bytes, value: bytes) -> None:
        """One field of its header, or of a trailer."""
        if self.whole_header:
            return
        self._fields_bytes += len(name) + len(value) + _FIELD_BYTES
        self.fields.append((name.lower(), value))

    def add_body(self, piece: bytes) -> None:
        """Some of its body."""
        self.size += len(piece)
        if self.size <= self._limit:
            self._pieces.append(piece)

    @property
    def path(self) -> bytes:
        """The method's path, without a query."""
        return self._path.partition(b"?")[0]

    @property
    def body(self) -> bytes:
        """All of its body.

        Raises:
            ResourceExhausted: it, or the header, is larger than allowed.
        """
        if self._fields_bytes > METADATA_BYTES:
            raise errors.ResourceExhausted("the headers are larger than allowed", reason=reasons.HEADERS_TOO_LARGE)
        if self.size > self._limit:
            raise message.too_large()
        return self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
