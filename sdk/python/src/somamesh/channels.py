"""Options of every channel to a mesh."""

from importlib.metadata import version

# A mesh restarts in about a second. By default, gRPC would wait about a second before its first attempt to reconnect.
OPTIONS = (
    ("grpc.primary_user_agent", f"somamesh-python/{version('somamesh')}"),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 5000),
    # Despite its name, this is how long one attempt to connect may take, with its TLS handshake.
    ("grpc.min_reconnect_backoff_ms", 20_000),
)
