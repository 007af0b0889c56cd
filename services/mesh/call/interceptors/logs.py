"""Logs calls that failed, with their trace id; what succeeds is metered, not logged."""

from time import monotonic

import structlog

from services.mesh.call.call import Call
from services.mesh.call.errors import Code, MeshError
from services.mesh.call.hooks import Hooks
from services.mesh.call.method import Method

log = structlog.get_logger("mesh")

# Faults of this system or of its dependencies. All other errors concern the caller, and are logged at debug level.
_OURS = frozenset({Code.UNKNOWN, Code.INTERNAL, Code.UNAVAILABLE, Code.DATA_LOSS})


def logs(rpc: Method) -> Hooks:
    """Log how a failed call ended."""

    def leave(call: Call, error: MeshError | None) -> None:
        if error is None:
            return
        write = log.warning if error.code in _OURS else log.debug
        write(
            "call failed",
            rpc=rpc.path,
            code=error.code.name,
            reason=error.reason,
            message=error.message,
            tenant=call.principal.tenant_id if call.principal else "",
            subject=call.principal.subject if call.principal else "",
            # Who acts for the subject, if that is somebody else.
            act=list(call.principal.act) if call.principal else [],
            trace_id=call.trace_id,
            seconds=round(monotonic() - call.started, 4),
        )

    return Hooks(leave=leave)
