"""Metrics of WebSockets."""

from prometheus_client import Counter, Gauge

OPEN = Gauge("soma_edge_sockets_open", "WebSockets that are open")
CLOSED = Counter(
    "soma_edge_sockets_closed_total", "WebSockets that were closed, by the code they were closed with", ("code",)
)
