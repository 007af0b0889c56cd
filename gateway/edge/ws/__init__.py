"""The common part of all WebSockets of the edge: the connection, its limits and its metrics."""
