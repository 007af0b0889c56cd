"""Translates errors to `google.rpc.Status` and back."""

from typing import TypeVar

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from soma.errors.v1 import reasons

from services.mesh.call import errors
from services.mesh.call.boundary import Boundary

_M = TypeVar("_M", bound=Message)

DETAILS_KEY = "grpc-status-details-bin"
RETRY_KEY = "retry-after"
"""Seconds as plain text, beside `RetryInfo`: the gateway turns them into the HTTP header of that name."""
_LOST = "the instance that took the call was lost, or could not be reached"
# A request may have thousands of fields at fault. Envoy and gRPC refuse an answer with trailers of that size.
_MOST_VIOLATIONS = 100
_VIOLATIONS_BYTES = 8 * 1024
CODES = {code.value[0]: code for code in grpc.StatusCode}


def to_status(error: errors.MeshError) -> status_pb2.Status:
    """The status a client receives: code, message, exactly one ErrorInfo, and what helps it to act."""
    status = status_pb2.Status(code=error.code, message=error.message)
    _pack(
        status,
        error_details_pb2.ErrorInfo(reason=error.reason, domain=errors.DOMAIN, metadata=error.facts.metadata),
    )
    if error.facts.retry_after is not None:
        delay = duration_pb2.Duration()
        delay.FromNanoseconds(int(error.facts.retry_after * 1e9))
        _pack(status, error_details_pb2.RetryInfo(retry_delay=delay))
    if error.facts.violations:
        bad = error_details_pb2.BadRequest(
            field_violations=[
                error_details_pb2.BadRequest.FieldViolation(field=v.field, description=v.description)
                for v in error.facts.violations[:_MOST_VIOLATIONS]
            ]
        )
        _pack(status, _of_size(bad, _VIOLATIONS_BYTES))
    return status


def from_status(status: status_pb2.Status) -> errors.MeshError:
    """The error a status stands for; without an ErrorInfo the reason is the status's own name."""
    code = errors.Code(status.code)
    facts = errors.Facts()
    reason = code.name
    for detail in status.details:
        if detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR):
            info = _unpack(detail, error_details_pb2.ErrorInfo())
            reason, facts.metadata = info.reason, dict(info.metadata)
        elif detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR):
            retry = _unpack(detail, error_details_pb2.RetryInfo())
            facts.retry_after = retry.retry_delay.ToNanoseconds() / 1e9
        elif detail.Is(error_details_pb2.BadRequest.DESCRIPTOR):
            bad = _unpack(detail, error_details_pb2.BadRequest())
            facts.violations = tuple(errors.FieldViolation(v.field, v.description) for v in bad.field_violations)
    return errors.relayed(code, status.message, reason=reason, facts=facts)


def shortened(details: bytes, message: str, room: int) -> bytes:
    """Status details with another message, and as many of the details as fit into about `room` bytes.

    The reason and the time to retry come first, then as many fields at fault as there is room for.
    """
    whole, short = status_pb2.Status.FromString(details), status_pb2.Status()
    short.code, short.message = whole.code, message
    for detail in sorted(whole.details, key=lambda each: each.Is(error_details_pb2.BadRequest.DESCRIPTOR)):
        if detail.Is(error_details_pb2.BadRequest.DESCRIPTOR):
            _pack(short, _of_size(_unpack(detail, error_details_pb2.BadRequest()), room - short.ByteSize()))
        elif short.ByteSize() + detail.ByteSize() <= room:
            short.details.append(detail)
    serialised: bytes = short.SerializeToString()
    return serialised


def from_rpc_error(error: grpc.aio.AioRpcError) -> errors.MeshError:
    """The error that a failed call ended with, over any transport."""
    for key, value in error.trailing_metadata() or ():
        if key == DETAILS_KEY and isinstance(value, bytes):
            status = status_pb2.Status()
            status.ParseFromString(value)
            if 1 <= status.code <= errors.Code.UNAUTHENTICATED:
                return from_status(status)
    code = errors.Code(error.code().value[0])
    if code is errors.Code.UNAVAILABLE:
        # The error comes from the transport. Its text has addresses, which concern only those who run the mesh.
        return errors.Unavailable(_LOST, reason=reasons.INSTANCE_LOST, retry_after=1.0)
    return errors.relayed(code, error.details() or code.name, reason=code.name, facts=errors.Facts())


AS_MESH_ERRORS = Boundary(from_rpc_error)
"""Makes calls raise `MeshError`, over any transport."""


def _pack(status: status_pb2.Status, detail: Message) -> None:
    packed = any_pb2.Any()
    packed.Pack(detail)
    status.details.append(packed)


def _of_size(bad: error_details_pb2.BadRequest, room: int) -> error_details_pb2.BadRequest:
    some = error_details_pb2.BadRequest()
    for violation in bad.field_violations:
        room -= violation.ByteSize()
        if room < 0:
            break
        some.field_violations.append(violation)
    return some


def _unpack(detail: any_pb2.Any, into: _M) -> _M:
    detail.Unpack(into)
    return into
