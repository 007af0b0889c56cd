"""Names of the gateway's HTTP filters, which routes use to turn the filters on and off."""

from envoy_data_plane.envoy.config.route.v3 import FilterConfig
from envoy_data_plane.envoy.extensions.filters.http.buffer.v3 import Buffer, BufferPerRoute
from envoy_data_plane.google.protobuf import Any

ERROR_WRAPPER = "envoy.filters.http.lua"
"""Gives errors of transcoded calls the shape of REST; off on routes to backends that speak HTTP."""
QUERY_TOKEN = "soma.query_token"
"""Makes a header of a credential in the query, for clients that cannot send headers. A route must turn it on."""
BODY_DRAIN = "soma.drain_body"
"""Reads and drops a body that is too large, so that the client can finish writing. A route must turn it on."""
BODY_LIMIT = "envoy.filters.http.buffer"
"""Collects a whole body, up to a limit, before it is passed on. The transcoder's own limit does not apply to a long
string, which it would collect without end. A route must turn it on."""
BODY_CHECK = "soma.check_body"
"""Refuses JSON that the transcoder would misread. A route must turn it on, and name the body's message."""
REFUSE = "refuse"
"""Another script of this filter, for routes that name it: refuses the call with the route's status and text."""
TRANSCODER = "envoy.filters.http.grpc_json_transcoder"
GRPC_WEB = "envoy.filters.http.grpc_web"


def buffered(limit: int) -> dict[str, Any]:
    """The setting of a route that passes a request on only when it has arrived completely, within `limit` bytes."""
    return {BODY_LIMIT: Any.pack(BufferPerRoute(buffer=Buffer(max_request_bytes=limit)))}


def disabled(*names: str) -> dict[str, Any]:
    """The setting of a route that turns these filters off."""
    return dict.fromkeys(names, Any.pack(FilterConfig(disabled=True)))
