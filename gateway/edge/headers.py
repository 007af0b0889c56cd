"""The request headers that the edge reads."""

from collections.abc import Iterable

from services.mesh.call.authenticator import SOURCE

# The address that the request came from.
SOURCE_HEADER = SOURCE.encode()
_READ = frozenset(
    {
        *(b"authorization", b"x-api-key", b"x-request-id", b"traceparent"),
        *(b"content-length", b"content-encoding", b"content-type", b"idempotency-key"),
        *(b"anthropic-version", b"anthropic-beta", SOURCE_HEADER),
    }
)


class Headers:
    """The headers of one request; a header that is absent is None."""

    __slots__ = ("_values",)

    def __init__(self, raw: Iterable[tuple[bytes, bytes]]) -> None:
        self._values = {name: value for name, value in raw if name in _READ}

    def text(self, name: bytes) -> str | None:
        """The header as text."""
        value = self._values.get(name)
        return None if value is None else value.decode("latin-1")

    def raw(self, name: bytes) -> bytes | None:
        """The header as bytes."""
        return self._values.get(name)
