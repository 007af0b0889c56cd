"""Triton's own counts of its models, among the metrics of this process."""

from collections.abc import Iterator
from dataclasses import dataclass

from prometheus_client.metrics_core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from services.mesh.call.errors import MeshError
from services.model.adapters.triton.server import Server

_NANO = 1e-9


@dataclass(frozen=True)
class Counts:
    """What one model did since it was loaded; seconds are of all its requests together."""

    model: str
    inferences: int
    executions: int
    failures: int
    queue_seconds: float
    compute_seconds: float


_FAMILIES = (
    ("soma_triton_inferences", "Inputs that Triton's models have worked on", "inferences"),
    ("soma_triton_executions", "Batches that Triton's models have run", "executions"),
    ("soma_triton_failures", "Requests that failed in Triton", "failures"),
    ("soma_triton_queue_seconds", "Time that requests waited in Triton's queues", "queue_seconds"),
    ("soma_triton_compute_seconds", "Time that Triton's models worked on requests", "compute_seconds"),
)


class Statistics(Collector):
    """The counts of the last `read`; none while the server is away."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._counts: tuple[Counts, ...] = ()

    async def read(self) -> None:
        """Ask the server."""
        try:
            found = await self._server.statistics()
        except MeshError:
            # `soma_model_triton_up` says so.
            self._counts = ()
            return
        self._counts = tuple(
            Counts(
                each.name,
                each.inference_count,
                each.execution_count,
                each.inference_stats.fail.count,
                each.inference_stats.queue.ns * _NANO,
                each.inference_stats.compute_infer.ns * _NANO,
            )
            for each in found.model_stats
        )

    def collect(self) -> Iterator[Metric]:
        """The families, for Prometheus."""
        for name, text, field in _FAMILIES:
            family = CounterMetricFamily(name, text, labels=("model",))
            for each in self._counts:
                family.add_metric((each.model,), getattr(each, field))
            yield family
