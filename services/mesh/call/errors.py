"""The errors our code raises, each with its canonical status and a reason a client can act on.

Plain Python: domain modules raise these without knowing gRPC. `status.py` turns them into `google.rpc.Status` where
they leave a process, and back again in its callers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum

from soma.errors.v1 import reasons

DOMAIN = "soma"
# For the reason STORAGE_FULL, because somebody has to make room first. It is longer than a turn waits for what passes.
STORAGE_FULL_SECONDS = 15.0


class Code(IntEnum):
    """Canonical status codes (google/rpc/code.proto)."""

    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """One field that is wrong: its path in the request, and why."""

    field: str
    description: str


@dataclass(slots=True)
class Facts:
    """The details of an error beside its message."""

    metadata: dict[str, str] = field(default_factory=dict)
    retry_after: float | None = None
    violations: tuple[FieldViolation, ...] = ()


class MeshError(Exception):
    """An error that a client can act on; a subclass has the status, and an instance may have a reason of its own.

    Args:
        message: for people; the client gets it unchanged, so it holds no secret.
        reason: UPPER_SNAKE, stable; clients switch on it.
        metadata: small facts for programs, such as a resource's name.
        retry_after: seconds after which the same call may succeed.
        violations: fields at fault, for invalid arguments.
    """

    code = Code.INTERNAL
    reason = reasons.INTERNAL

    def __init__(
        self,
        message: str,
        *,
        reason: str | None = None,
        metadata: Mapping[str, str] | None = None,
        retry_after: float | None = None,
        violations: Sequence[FieldViolation] = (),
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason or type(self).reason
        self.facts = Facts(dict(metadata or {}), retry_after, tuple(violations))


class InvalidArgument(MeshError):
    """The request is wrong whatever the state of the system."""

    code = Code.INVALID_ARGUMENT
    reason = reasons.INVALID_ARGUMENT


class Unauthenticated(MeshError):
    """No credential, or one that is not valid."""

    code = Code.UNAUTHENTICATED
    reason = reasons.CREDENTIAL_MISSING


class PermissionDenied(MeshError):
    """The principal is known and may not do this."""

    code = Code.PERMISSION_DENIED
    reason = reasons.SCOPE_MISSING


class NotFound(MeshError):
    """The resource does not exist, or not for this tenant."""

    code = Code.NOT_FOUND
    reason = reasons.NOT_FOUND


class AlreadyExists(MeshError):
    """A resource of that name exists."""

    code = Code.ALREADY_EXISTS
    reason = reasons.ALREADY_EXISTS


class FailedPrecondition(MeshError):
    """The system is not in a state for this; to try again without a change does not help."""

    code = Code.FAILED_PRECONDITION
    reason = reasons.FAILED_PRECONDITION


class Aborted(MeshError):
    """Somebody else changed the resource first; read it again and retry."""

    code = Code.ABORTED
    reason = reasons.CONFLICT


class ResourceExhausted(MeshError):
    """A limit, quota or queue is full."""

    code = Code.RESOURCE_EXHAUSTED
    reason = reasons.LIMIT_REACHED


class DeadlineExceeded(MeshError):
    """The caller's time ran out."""

    code = Code.DEADLINE_EXCEEDED
    reason = reasons.DEADLINE_EXCEEDED


class Cancelled(MeshError):
    """The caller went away."""

    code = Code.CANCELLED
    reason = reasons.CANCELLED


class Unavailable(MeshError):
    """A dependency cannot be reached now; retrying later may help."""

    code = Code.UNAVAILABLE
    reason = reasons.DEPENDENCY_UNAVAILABLE


class Unimplemented(MeshError):
    """The method or feature does not exist here."""

    code = Code.UNIMPLEMENTED
    reason = reasons.UNIMPLEMENTED


class Internal(MeshError):
    """A fault of this system; the message says nothing of its internals."""


_OF_STATUS = {kind.code: kind for kind in MeshError.__subclasses__()}


def relayed(code: Code, message: str, *, reason: str, facts: Facts) -> MeshError:
    """The error that another service answered with.

    It has the class of its status, or is a plain MeshError: UNKNOWN, OUT_OF_RANGE and DATA_LOSS have no class.
    """
    error = _OF_STATUS.get(code, MeshError)(message, reason=reason)
    error.code, error.facts = code, facts
    return error
