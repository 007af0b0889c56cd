"""Metrics of the edge; the calls it makes are measured by the services that answer them."""

from functools import lru_cache

from prometheus_client import Counter, Histogram

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)

REQUESTS = Counter("soma_edge_requests_total", "Requests answered", ("route", "status"))
DURATION = Histogram(
    "soma_edge_request_duration_seconds", "From a request to the end of its answer", ("route",), buckets=_BUCKETS
)
FIRST_DELTA = Histogram(
    "soma_edge_first_delta_seconds", "From a streamed chat request to its first text", buckets=_BUCKETS
)

# Finding a series by its labels costs more than counting.
_requests = lru_cache(1024)(REQUESTS.labels)
_duration = lru_cache(256)(DURATION.labels)


def answered(route: str, status: int, seconds: float) -> None:
    """Count a request that has ended; status 499 means that the client left before it was answered."""
    _requests(route, status).inc()
    _duration(route).observe(seconds)
