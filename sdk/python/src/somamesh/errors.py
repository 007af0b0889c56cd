"""What can go wrong, as exceptions that carry the mesh's reason and the request's id."""

from typing import Any

import grpc
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2

DETAILS_KEY = "grpc-status-details-bin"


class SomaError(Exception):
    """A call that failed.

    Attributes:
        message: for people.
        reason: UPPER_SNAKE, stable: what a program decides by.
        status: name of the canonical status code, such as `NOT_FOUND`.
        request_id: what the mesh's logs know the request by.
        retry_after: seconds after which the same call may succeed; None when the mesh did not say.
        fields: the fields at fault and why, where the request was wrong.
    """

    def __init__(
        self,
        message: str,
        *,
        reason: str,
        status: str,
        request_id: str,
        retry_after: float | None = None,
        fields: dict[str, str] | None = None,
    ) -> None:
        super().__init__(f"{message} ({reason}, request {request_id})")
        self.message = message
        self.reason = reason
        self.status = status
        self.request_id = request_id
        self.retry_after = retry_after
        self.fields = fields or {}


class InvalidRequest(SomaError):
    """The request is wrong, or asks for what is not possible now."""


class Unauthenticated(SomaError):
    """No key, or one that is not valid."""


class PermissionDenied(SomaError):
    """The key is known and may not do this."""


class NotFound(SomaError):
    """There is no such thing."""


class Conflict(SomaError):
    """It exists already, or somebody else changed it first."""


class RateLimited(SomaError):
    """A limit or quota is used up."""


class Unavailable(SomaError):
    """The mesh, or something it stands on, cannot be reached now."""


class DeadlineExceeded(SomaError):
    """The call took longer than it was given."""


class ServerError(SomaError):
    """The mesh failed."""


CLASSES: dict[str, type[SomaError]] = {
    "INVALID_ARGUMENT": InvalidRequest,
    "FAILED_PRECONDITION": InvalidRequest,
    "OUT_OF_RANGE": InvalidRequest,
    "UNIMPLEMENTED": InvalidRequest,
    "UNAUTHENTICATED": Unauthenticated,
    "PERMISSION_DENIED": PermissionDenied,
    "NOT_FOUND": NotFound,
    "ALREADY_EXISTS": Conflict,
    "ABORTED": Conflict,
    "RESOURCE_EXHAUSTED": RateLimited,
    "UNAVAILABLE": Unavailable,
    "DEADLINE_EXCEEDED": DeadlineExceeded,
}


STATUSES = {code.value[0]: code.name for code in grpc.StatusCode}


def stated(code: int, message: str, reason: str, request_id: str, retry_after: float | None) -> SomaError:
    """The exception for a failure the mesh stated inside a stream."""
    status = STATUSES.get(code, "UNKNOWN")
    kind = CLASSES.get(status, ServerError)
    return kind(message, reason=reason or status, status=status, request_id=request_id, retry_after=retry_after)


def failed(error: Any, request_id: str) -> SomaError:
    """The exception for a `grpc.RpcError` a call ended with; both clients' errors tell their status alike."""
    code: grpc.StatusCode = error.code()
    reason, retry_after = code.name, None
    fields: dict[str, str] = {}
    for detail in _details(error):
        if detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR):
            info = error_details_pb2.ErrorInfo()
            detail.Unpack(info)
            reason = info.reason
        elif detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR):
            retry = error_details_pb2.RetryInfo()
            detail.Unpack(retry)
            retry_after = retry.retry_delay.ToNanoseconds() / 1e9
        elif detail.Is(error_details_pb2.BadRequest.DESCRIPTOR):
            bad = error_details_pb2.BadRequest()
            detail.Unpack(bad)
            fields = {violation.field: violation.description for violation in bad.field_violations}
    kind = CLASSES.get(code.name, ServerError)
    return kind(
        error.details() or code.name,
        reason=reason,
        status=code.name,
        request_id=request_id,
        retry_after=retry_after,
        fields=fields,
    )


def _details(error: Any) -> list[any_pb2.Any]:
    for key, value in error.trailing_metadata() or ():
        if key == DETAILS_KEY:
            return list(status_pb2.Status.FromString(value).details)
    return []
