"""What all WebSockets of the edge share: the connection, its limits and its metrics."""
