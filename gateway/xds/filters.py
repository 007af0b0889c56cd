"""Names of the gateway's HTTP filters, by which routes turn them on and off."""

from envoy_data_plane.envoy.config.route.v3 import FilterConfig
from envoy_data_plane.envoy.extensions.filters.http.buffer.v3 import Buffer, BufferPerRoute
from envoy_data_plane.google.protobuf import Any

ERROR_WRAPPER = "envoy.filters.http.lua"
"""Gives transcoded errors their shape; off where a backend speaks HTTP itself."""
QUERY_TOKEN = "soma.query_token"
"""Makes a header of a credential in the query, for clients that can send no header. Off except where a route turns it
on."""
BODY_DRAIN = "soma.drain_body"
"""Lets a client finish writing a body that is too large, and drops what it writes. Off except where a route turns it
on."""
BODY_LIMIT = "envoy.filters.http.buffer"
"""Takes a whole body before it goes on, up to a limit: the transcoder's own does not hold for a long string, which it
would collect without end. Off except where a route turns it on."""
BODY_CHECK = "soma.check_body"
"""Refuses JSON the transcoder would misread. Off except where a route turns it on and names the body's message."""
REFUSE = "refuse"
"""What that filter does instead on routes that name it: refuse the call, with the status and text of the route."""
TRANSCODER = "envoy.filters.http.grpc_json_transcoder"
GRPC_WEB = "envoy.filters.http.grpc_web"


def whole(limit: int) -> dict[str, Any]:
    """What a route says so that a request it takes is sent on when it has arrived to its end, within so many bytes."""
    return {BODY_LIMIT: Any.pack(BufferPerRoute(buffer=Buffer(max_request_bytes=limit)))}


def without(*names: str) -> dict[str, Any]:
    """What a route says so that a call it takes passes none of these filters."""
    return dict.fromkeys(names, Any.pack(FilterConfig(disabled=True)))
