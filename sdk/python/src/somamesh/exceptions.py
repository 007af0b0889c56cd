"""What can go wrong, as exceptions that carry the mesh's reason and the request's id."""

from collections.abc import Mapping


class APIError(Exception):
    """A call that failed; subclasses say how.

    Attributes:
        message: for people.
        reason: UPPER_SNAKE, stable: what a program decides by.
        status: name of the canonical status code, such as `NOT_FOUND`.
        request_id: what the mesh's logs know the request by.
        retry_after: seconds after which the same call may succeed; None when the mesh did not say.
        fields: the fields at fault and why, where the request was wrong.
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
    """The request is wrong, or asks for what is not possible now."""


class AuthenticationError(APIError):
    """No key, or one that is not valid."""


class PermissionDeniedError(APIError):
    """The key is known and may not do this."""


class NotFoundError(APIError):
    """There is no such thing."""


class ConflictError(APIError):
    """It exists already, or somebody else changed it first."""


class RateLimitError(APIError):
    """A limit or quota is used up."""


class UnavailableError(APIError):
    """The mesh, or something it stands on, cannot be reached now; also an answer that was cut off."""


class DeadlineError(APIError):
    """The call took longer than it was given."""


class ServerError(APIError):
    """The mesh failed."""
