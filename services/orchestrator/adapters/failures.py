"""What a step failed with, as a typed error."""

import grpc
from soma.errors.v1 import reasons

from services.mesh import errors
from services.mesh.status import from_rpc_error


def typed(error: Exception) -> errors.MeshError:
    """The error a client is told; what was not expected is internal and says nothing of itself."""
    if isinstance(error, errors.MeshError):
        return error
    if isinstance(error, grpc.aio.AioRpcError):
        return from_rpc_error(error)
    if isinstance(error, TimeoutError):
        return errors.DeadlineExceeded("a step took longer than it may", reason=reasons.TIMEOUT)
    return errors.Internal("internal error")
