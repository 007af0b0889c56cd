"""Names of the gateway's HTTP filters, which routes use to turn the filters on and off."""

from envoy_data_plane.envoy.config.route.v3 import FilterConfig
from envoy_data_plane.envoy.extensions.filters.http.buffer.v3 import Buffer, BufferPerRoute
from envoy_data_plane.envoy.extensions.filters.http.lua.v3 import LuaPerRoute
from envoy_data_plane.google.protobuf import Any, Struct

ERROR_WRAPPER = "envoy.filters.http.lua"
"""Gives errors of transcoded calls the shape of REST; off on routes to backends that speak HTTP."""
QUERY_TOKEN = "soma.query_token"
"""Makes a header of a credential in the query, for clients that cannot send headers. A route must turn it on."""
BODY_ADMISSION = "soma.admit_body"
"""Lets only so many bytes of large bodies in at the same time. A route must turn it on."""
BUSY = "soma.refuse_busy"
"""Refuses a request whose body was not let in. It stands behind `BODY_LIMIT`, so the body is complete then."""
BODY_DRAIN = "soma.drain_body"
"""Reads and drops a body that is too large, so that the client can finish writing. A route must turn it on."""
BODY_LIMIT = "envoy.filters.http.buffer"
"""Collects a whole body, up to a limit, before it is passed on. The transcoder's own limit does not apply to a long
string, which it would collect without end. A route must turn it on."""
BODY_CHECK = "soma.check_body"
"""Refuses JSON that the transcoder would misread. A route must turn it on, and name the body's message."""
REFUSE = "refuse"
"""Another script of this filter, for routes that name it: refuses the call with the route's status and text."""
LUA_ON = Any.pack(LuaPerRoute(filter_context=Struct()))
"""Turns a Lua filter on: a filter that a route configures is on."""
TRANSCODER = "envoy.filters.http.grpc_json_transcoder"
GRPC_WEB = "envoy.filters.http.grpc_web"


def buffered(limit: int) -> dict[str, Any]:
    """The setting of a route that passes a request on only when it has arrived completely, within `limit` bytes."""
    return {BODY_LIMIT: Any.pack(BufferPerRoute(buffer=Buffer(max_request_bytes=limit)))}


def admitted(limit: int) -> dict[str, Any]:
    """The setting of a route for large bodies: as `buffered`, and only so many of them at the same time."""
    return buffered(limit) | {BODY_ADMISSION: LUA_ON, BUSY: LUA_ON}


def disabled(*names: str) -> dict[str, Any]:
    """The setting of a route that turns these filters off."""
    return dict.fromkeys(names, Any.pack(FilterConfig(disabled=True)))
