"""Makes the exceptions, from a `grpc.RpcError` or from an error event of a stream."""

from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2
from soma.errors.v1 import reasons
from soma.mesh.v1.stream_pb2 import StreamError

from somamesh import exceptions
from somamesh.exceptions import APIError, ServerError, UnavailableError

DETAILS_KEY = "grpc-status-details-bin"

CLASSES: dict[str, type[APIError]] = {
    "INVALID_ARGUMENT": exceptions.InvalidRequestError,
    "FAILED_PRECONDITION": exceptions.InvalidRequestError,
    "OUT_OF_RANGE": exceptions.InvalidRequestError,
    "UNIMPLEMENTED": exceptions.InvalidRequestError,
    "UNAUTHENTICATED": exceptions.AuthenticationError,
    "PERMISSION_DENIED": exceptions.PermissionDeniedError,
    "NOT_FOUND": exceptions.NotFoundError,
    "ALREADY_EXISTS": exceptions.ConflictError,
    "ABORTED": exceptions.ConflictError,
    "RESOURCE_EXHAUSTED": exceptions.RateLimitError,
    "UNAVAILABLE": UnavailableError,
    # The server cancelled the call, or another thread closed the client.
    "CANCELLED": UnavailableError,
    "DEADLINE_EXCEEDED": exceptions.DeadlineError,
}
STATUSES: dict[int, str] = {code.value[0]: code.name for code in grpc.StatusCode}


@dataclass(slots=True)
class _Details:
    """The details of a status."""

    reason: str
    metadata: dict[str, str] = field(default_factory=dict)
    retry_after: float | None = None
    fields: dict[str, str] = field(default_factory=dict)

    def take(self, detail: any_pb2.Any) -> None:
        """Read one detail; ignore a detail of an unknown type."""
        info, retry, bad = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo(), error_details_pb2.BadRequest()
        if detail.Unpack(info):
            self.reason, self.metadata = info.reason, dict(info.metadata)
        elif detail.Unpack(retry):
            self.retry_after = retry.retry_delay.ToNanoseconds() / 1e9
        elif detail.Unpack(bad):
            self.fields = {violation.field: violation.description for violation in bad.field_violations}


def from_rpc_error(error: Any, request_id: str) -> APIError:
    """The exception for the `grpc.RpcError` of a call, from the sync or the asyncio channel."""
    status: str = error.code().name
    text: str = error.details() or status
    if status == "INTERNAL" and "RST_STREAM" in text:
        # The gateway resets a stream when its process died, and gRPC reports the reset as INTERNAL.
        return cut_off(request_id)
    details = _Details(reason=status)
    for key, value in error.trailing_metadata() or ():
        if key == DETAILS_KEY:
            for detail in status_pb2.Status.FromString(value).details:
                details.take(detail)
    return CLASSES.get(status, ServerError)(
        text,
        reason=details.reason,
        status=status,
        request_id=request_id,
        retry_after=details.retry_after,
        fields=details.fields,
        metadata=details.metadata,
    )


def from_stream_error(error: StreamError, request_id: str) -> APIError:
    """The exception for an error event of a stream."""
    status = STATUSES.get(error.code, "UNKNOWN")
    return CLASSES.get(status, ServerError)(
        error.message,
        reason=error.reason or status,
        status=status,
        request_id=request_id,
        retry_after=error.retry_after_seconds or None,
    )


def cut_off(request_id: str) -> UnavailableError:
    """The exception for a stream that ended before its final event."""
    return UnavailableError(
        "the answer was cut off", reason=reasons.STREAM_CUT, status="UNAVAILABLE", request_id=request_id
    )
