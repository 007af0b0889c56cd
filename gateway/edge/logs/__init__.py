"""The WebSocket `/ws/logs`: sends the entries of task logs as they are written."""
