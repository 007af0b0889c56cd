"""Options every channel to a mesh has."""

from importlib.metadata import version

# A mesh that restarts is back in about a second; gRPC alone would wait that long before it even looks.
OPTIONS = (
    ("grpc.primary_user_agent", f"somamesh-python/{version('somamesh')}"),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 5000),
    # Whatever its name: how long one attempt to connect may take, with its handshake.
    ("grpc.min_reconnect_backoff_ms", 20_000),
)
