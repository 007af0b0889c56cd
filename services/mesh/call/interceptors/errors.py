"""Which error a call ends with: a MeshError stays as it is, everything else becomes "internal error"."""

import asyncio

import grpc
import structlog
from soma.errors.v1 import reasons

from services.mesh.call import errors
from services.mesh.call.call import Call

log = structlog.get_logger("mesh")

# Postgres's character_not_in_repertoire and untranslatable_character. gRPC lets in nothing but UTF-8, and Postgres
# takes every character of that but NUL.
_NOT_STORABLE = ("22021", "22P05")


def translate(call: Call, exception: BaseException) -> errors.MeshError | None:
    """The error that the caller gets for what a servicer raised.

    None when there is nothing to send: the caller is gone, or the servicer has ended the call by `abort`.
    """
    expected = stated(exception)
    if expected is not None:
        return expected
    if isinstance(exception, grpc.aio.AbortError):
        return None
    if isinstance(exception, asyncio.CancelledError):
        return _cancelled(call)
    if not isinstance(exception, Exception):
        return None
    path = call.method.path if call.method else ""
    log.error("unexpected error", rpc=path, trace_id=call.trace_id, exc_info=exception)
    return errors.Internal("internal error", metadata={"trace_id": call.trace_id} if call.trace else None)


def stated(exception: BaseException) -> errors.MeshError | None:
    """The typed error for an exception; None for an exception that nobody expected."""
    if isinstance(exception, errors.MeshError):
        return exception
    if isinstance(exception, TimeoutError):
        return errors.DeadlineExceeded("a step took longer than it may", reason=reasons.TIMEOUT)
    if getattr(exception, "sqlstate", None) in _NOT_STORABLE:
        return errors.InvalidArgument(
            "a text holds a NUL, which cannot be stored there", reason=reasons.TEXT_NOT_STORABLE
        )
    return None


def _cancelled(call: Call) -> errors.MeshError | None:
    """The error for a cancelled servicer; None when its caller cancelled the call.

    A servicer that awaited something cancelled raises the same exception, and its caller would wait for ever.
    """
    task = asyncio.current_task()
    if call.draining:
        if task is not None:
            task.uncancel()
        return errors.Unavailable("the process is stopping", reason=reasons.DRAINING, retry_after=1.0)
    if task is not None and task.cancelling():
        return None
    return errors.Internal("a step of this call was cancelled", reason=reasons.STEP_CANCELLED)
