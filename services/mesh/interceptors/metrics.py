"""RED metrics of every RPC: one histogram whose labels are method and status.

Named after OpenTelemetry's `rpc.server.call.duration`. Successful internal calls are metered, not logged.
"""

import asyncio

from prometheus_client import Gauge, Histogram

from services.mesh.call import Call
from services.mesh.errors import MeshError
from services.mesh.hooks import Hooks
from services.mesh.method import Method

_BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
DURATION = Histogram(
    "rpc_server_call_duration_seconds",
    "Duration of calls served, streams to their end",
    ("rpc_method", "rpc_response_status_code"),
    buckets=_BUCKETS,
)
ACTIVE = Gauge("rpc_server_active_calls", "Calls being served", ("rpc_method",))


def metrics(rpc: Method) -> Hooks:
    """Count and time the calls of a method."""
    name = rpc.path[1:]
    succeeded = DURATION.labels(name, "OK")
    active = ACTIVE.labels(name)

    def enter(_: Call) -> None:
        active.inc()

    def leave(call: Call, error: MeshError | None) -> None:
        active.dec()
        observed = succeeded if error is None else DURATION.labels(name, error.code.name)
        observed.observe(asyncio.get_running_loop().time() - call.started)

    return Hooks(enter=enter, leave=leave)
