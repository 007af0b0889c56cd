"""RED metrics of every RPC: one histogram whose labels are method and status, and how many calls there are now.

The histogram is named after OpenTelemetry's `rpc.server.call.duration`.

A chat turn is half a dozen calls. The histogram and gauge of the Prometheus library take a lock for each change, which
only threads need. Calls begin and end on the event loop, so these are plain numbers until Prometheus asks for them.
"""

from bisect import bisect_left
from collections.abc import Iterator
from itertools import accumulate
from time import monotonic

from prometheus_client import REGISTRY
from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from services.mesh.call.call import Call
from services.mesh.call.errors import MeshError
from services.mesh.call.hooks import Hooks
from services.mesh.call.method import Method

_BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_BOUNDS = (*map(floatToGoString, _BUCKETS), "+Inf")


class _Series:
    """Calls of one method that ended in one way."""

    __slots__ = ("counts", "seconds")

    def __init__(self) -> None:
        self.counts = [0] * len(_BOUNDS)
        self.seconds = 0.0

    def observe(self, seconds: float) -> None:
        self.counts[bisect_left(_BUCKETS, seconds)] += 1
        self.seconds += seconds


class _Calls:
    """Calls of one method."""

    __slots__ = ("active", "ended", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self.active = 0
        self.ended: dict[str, _Series] = {}

    def of(self, code: str) -> _Series:
        """Those that ended with this status."""
        series = self.ended.get(code)
        if series is None:
            series = self.ended[code] = _Series()
        return series


class _AllCalls(Collector):
    """The calls of every method of the process, in the form that Prometheus's client collects."""

    def __init__(self) -> None:
        self._methods: dict[str, _Calls] = {}

    def of(self, name: str) -> _Calls:
        """Those of one method."""
        return self._methods.setdefault(name, _Calls(name))

    def collect(self) -> Iterator[Metric]:
        """Both metrics."""
        duration = HistogramMetricFamily(
            "rpc_server_call_duration_seconds",
            "Duration of calls served, streams to their end",
            labels=("rpc_method", "rpc_response_status_code"),
        )
        active = GaugeMetricFamily("rpc_server_active_calls", "Calls being served", labels=("rpc_method",))
        for calls in self._methods.values():
            active.add_metric((calls.name,), calls.active)
            for code, series in calls.ended.items():
                buckets = list(zip(_BOUNDS, accumulate(series.counts), strict=True))
                duration.add_metric((calls.name, code), buckets, series.seconds)
        yield duration
        yield active


_calls = _AllCalls()
REGISTRY.register(_calls)


def metrics(rpc: Method) -> Hooks:
    """Count and time the calls of a method."""
    calls = _calls.of(rpc.path[1:])
    succeeded = calls.of("OK")

    def enter(_: Call) -> None:
        calls.active += 1

    def leave(call: Call, error: MeshError | None) -> None:
        calls.active -= 1
        series = succeeded if error is None else calls.of(error.code.name)
        series.observe(monotonic() - call.started)

    return Hooks(enter=enter, leave=leave)
