"""Typed errors for the refusals of a Triton server."""

from collections.abc import Callable, Mapping

from soma.errors.v1 import reasons
from tritonclient.utils import InferenceServerException

from services.mesh.call.errors import (
    FailedPrecondition,
    InvalidArgument,
    MeshError,
    NotFound,
    ResourceExhausted,
    Unavailable,
)
from services.model.adapters.triton.settings import NAME

_LONGEST = 2000
_CRAMPED = "failed to increase the shared memory pool"
_FULL_MEMORY = "the memory that the server shares with its models (/dev/shm) is full"
_UNREACHED = ("failed to connect", "DNS resolution failed", "Socket closed", "recvmsg", "connections to all backends")


def _unavailable(message: str, model: str) -> MeshError:
    return Unavailable(message, reason=reasons.PROVIDER_UNAVAILABLE, retry_after=1.0)


def _slow(message: str, model: str) -> MeshError:
    return Unavailable(message, reason=reasons.PROVIDER_TIMEOUT)


def _refused(message: str, model: str) -> MeshError:
    return InvalidArgument(message, reason=reasons.PROVIDER_REFUSED_REQUEST)


def _full(message: str, model: str) -> MeshError:
    return ResourceExhausted(message, reason=reasons.PROVIDER_RATE_LIMITED, retry_after=1.0)


def _unknown(message: str, model: str) -> MeshError:
    return NotFound(message, reason=reasons.MODEL_NOT_FOUND, metadata={"model": model})


def _odd(message: str, model: str) -> MeshError:
    return Unavailable(message, reason=reasons.PROVIDER_PROTOCOL_ERROR)


# Parts of Triton's texts, in lower case, which say more than its status: a full queue and an unknown model are
# UNAVAILABLE, and so is a request whose time passed in the queue.
_TEXTS: Mapping[str, Callable[[str, str], MeshError]] = {
    "exceeds maximum queue size": _full,
    _FULL_MEMORY: _full,
    "request timeout expired": _slow,
    "unknown model": _unknown,
    "is not found": _unknown,
    "failed to initialize the requested model": _unavailable,
}
_STATUSES: Mapping[str, Callable[[str, str], MeshError]] = {
    "INVALID_ARGUMENT": _refused,
    "NOT_FOUND": _unknown,
    "DEADLINE_EXCEEDED": _slow,
    "RESOURCE_EXHAUSTED": _full,
    # A model's process that ended, memory that is full.
    "INTERNAL": _unavailable,
    "UNIMPLEMENTED": _odd,
}


def refusal(error: InferenceServerException, model: str = "") -> MeshError:
    """The typed error for an error of Triton's client; `model` is the one that was asked."""
    said = str(error.message() or "it said nothing")[:_LONGEST]
    if said.startswith(_UNREACHED):
        # gRPC's text has the address, which is nothing for a caller.
        said = "the server cannot be reached"
    elif _CRAMPED in said.lower():
        # The text has names of the server's own. A smaller request finds room.
        said = _FULL_MEMORY
    text = said.lower()
    make = next((each for part, each in _TEXTS.items() if part in text), None)
    status = str(error.status() or "").removeprefix("StatusCode.")
    return (make or _STATUSES.get(status, _unavailable))(f"{NAME}: {said}", model)


def late(seconds: float) -> MeshError:
    """The error for a call that was not answered in time."""
    return _slow(f"{NAME}: no answer within {seconds:.3g} s", "")


def load_refusal(error: InferenceServerException, model: str) -> MeshError:
    """The typed error for a model that could not be loaded."""
    found = refusal(error, model)
    if str(error.status()) == "StatusCode.INVALID_ARGUMENT" or "failed to load" in str(error.message()):
        return FailedPrecondition(found.message, reason=reasons.MODEL_LOAD_FAILED, metadata={"model": model})
    return found


def protocol_error(what: str) -> MeshError:
    """The error for an answer of another form than expected."""
    return _odd(f"{NAME}: {what}", "")
