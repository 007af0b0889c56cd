"""Follows what identity revokes, and has the cache forget it."""

from typing import TYPE_CHECKING

from soma.errors.v1 import reasons
from soma.identity.v1.auth_service_pb2 import WatchRevocationsRequest

from services.mesh.authentication.cache import PrincipalCache
from services.mesh.call.errors import Unavailable
from services.mesh.process.jobs import Job

if TYPE_CHECKING:
    from soma.identity.v1.auth_service_pb2_grpc import AuthServiceAsyncStub

_RETRY_SECONDS = 0.5


class RevocationFollower:
    """Follows the stream of revocations; when it breaks, it goes on where it was."""

    def __init__(self, identity: "AuthServiceAsyncStub", cache: PrincipalCache) -> None:
        self._identity = identity
        self._cache = cache
        self._last: int | None = None

    @property
    def job(self) -> Job:
        """Follows the stream for as long as the process runs."""
        return Job("revocations", self._follow, longest_pause=_RETRY_SECONDS)

    async def _follow(self) -> None:
        """Follow until the stream ends.

        Raises:
            MeshError: why it ended.
        """
        stream = self._identity.WatchRevocations(WatchRevocationsRequest(after_sequence=self._last))
        try:
            async for event in stream:
                match event.WhichOneof("payload"):
                    case "began_after":
                        if self._last is None:
                            # What was kept before may have been revoked before the stream began.
                            self._cache.clear()
                        self._last = event.began_after
                    case "revocation":
                        self._cache.revoke(event.revocation)
                        self._last = event.revocation.sequence
                    case "error":
                        raise Unavailable(event.error.message, reason=reasons.IDENTITY_UNAVAILABLE)
        finally:
            stream.cancel()
        raise Unavailable("the stream of revocations has ended", reason=reasons.IDENTITY_UNAVAILABLE)
