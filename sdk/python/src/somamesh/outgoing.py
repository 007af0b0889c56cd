"""What goes along with each call: the key, and an id the mesh's logs know it by."""

import uuid

from somamesh.settings import Endpoint

UNARY_SECONDS = 30.0
CHAT_SECONDS = 600.0


class Outgoing:
    """Makes the metadata of calls to one endpoint."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._key = endpoint.api_key

    def metadata(self) -> tuple[str, tuple[tuple[str, str], ...]]:
        """A new request id, and the metadata that carries it."""
        request_id = f"req_{uuid.uuid4().hex}"
        named = (("x-request-id", request_id),)
        return request_id, named if self._key is None else (*named, ("authorization", f"Bearer {self._key}"))
