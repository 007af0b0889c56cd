"""The limits of the mesh's channels and servers, and how they notice a peer that is gone."""

from typing import Any

# gRPC's own default for received messages, both ways.
MESSAGE_BYTES = 4 * 1024 * 1024
# For headers and trailers. By default gRPC refuses some above 8 KiB and all above 16 KiB; error details need more.
METADATA_BYTES = 32 * 1024
# A peer that answers no ping for this long is gone.
PING_SECONDS, PING_TIMEOUT_SECONDS = 30, 5
# The bytes of one stream that may be under way before its reader has taken any.
WINDOW_BYTES = 1024 * 1024
# On busy machines a TLS handshake takes long.
CONNECT_SECONDS = 5


def channel_options(max_message_bytes: int = MESSAGE_BYTES) -> list[tuple[str, Any]]:
    """Arguments of a client channel."""
    return [
        *_both(max_message_bytes),
        ("grpc.keepalive_time_ms", PING_SECONDS * 1000),
        ("grpc.keepalive_timeout_ms", PING_TIMEOUT_SECONDS * 1000),
        ("grpc.http2.max_pings_without_data", 0),
        # A process that comes back is reached within a second.
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 1000),
        # In spite of its name, this is how long one attempt to connect may take, with its handshake.
        ("grpc.min_reconnect_backoff_ms", CONNECT_SECONDS * 1000),
        # Neighbours are never behind a proxy, even if the environment names one.
        ("grpc.enable_http_proxy", 0),
    ]


def server_options(max_message_bytes: int = MESSAGE_BYTES) -> list[tuple[str, Any]]:
    """Arguments of a server for such channels; with the last two it accepts their pings."""
    return [
        *_both(max_message_bytes),
        ("grpc.so_reuseport", 0),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", PING_SECONDS * 1000 // 2),
        ("grpc.http2.min_ping_interval_without_data_ms", PING_SECONDS * 1000 // 2),
    ]


def _both(max_message_bytes: int) -> list[tuple[str, Any]]:
    return [
        ("grpc.max_receive_message_length", max_message_bytes),
        ("grpc.max_send_message_length", -1),
        ("grpc.max_metadata_size", METADATA_BYTES),
        ("grpc.absolute_max_metadata_size", METADATA_BYTES),
        # By default gRPC starts with 64 KiB and finds the right size by pings, at nearly every message. That is a
        # twentieth of the cost of a call, and neighbours are so near that it is not needed.
        ("grpc.http2.bdp_probe", 0),
        ("grpc.http2.lookahead_bytes", WINDOW_BYTES),
    ]
