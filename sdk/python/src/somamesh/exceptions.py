"""The exceptions of the client; they carry the mesh's reason and the id of the request."""

from collections.abc import Mapping


class APIError(Exception):
    """A call failed; the subclass says how.

    Attributes:
        message: text for people.
        reason: stable name in UPPER_SNAKE, for programs to decide by.
        status: name of the canonical status code, such as `NOT_FOUND`.
        request_id: the id of the request in the logs of the mesh.
        retry_after: seconds after which the same call may succeed; None when the mesh gave no time.
        fields: the wrong fields of the request, each with what is wrong.
        metadata: small facts about the reason, such as a resource's name.
    """

    def __init__(
        self,
        message: str,
        *,
        reason: str,
        status: str,
        request_id: str,
        retry_after: float | None = None,
        fields: Mapping[str, str] | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(f"{message} ({reason}, request {request_id})")
        self.message = message
        self.reason = reason
        self.status = status
        self.request_id = request_id
        self.retry_after = retry_after
        self.fields = dict(fields or {})
        self.metadata = dict(metadata or {})


class InvalidRequestError(APIError):
    """The request is wrong, or it is not possible in the current state."""


class AuthenticationError(APIError):
    """The call has no API key, or its key is not valid."""


class PermissionDeniedError(APIError):
    """The key is valid, but it does not permit this call."""


class NotFoundError(APIError):
    """The thing that was asked for does not exist."""


class ConflictError(APIError):
    """The thing exists already, or somebody else changed it first."""


class RateLimitError(APIError):
    """A limit or quota is used up."""


class UnavailableError(APIError):
    """The mesh, or something that it needs, cannot be reached now; or the answer was cut off."""


class DeadlineError(APIError):
    """The call took longer than its timeout."""


class ServerError(APIError):
    """The mesh had an internal error."""
