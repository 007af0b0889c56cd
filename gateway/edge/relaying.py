"""Turns errors at the end of a stream of the mesh into errors of this process."""

from soma.errors.v1 import reasons
from soma.mesh.v1.stream_pb2 import StreamError

from services.mesh.call import errors
from services.mesh.call.errors import Code, Facts, MeshError, Unavailable


def relayed(error: StreamError) -> MeshError:
    """The error in the last event of a stream."""
    facts = Facts(retry_after=error.retry_after_seconds or None)
    known = 1 <= error.code <= Code.UNAUTHENTICATED
    code = Code(error.code) if known else Code.UNKNOWN
    return errors.relayed(code, error.message, reason=error.reason, facts=facts)


def cut() -> MeshError:
    """The error of a stream that ended without a last event."""
    return Unavailable("The answer was cut off before its end.", reason=reasons.STREAM_CUT)
