"""Logs of tasks: kept in Redis for a limited time, and followed live. Nothing else depends on them."""
