"""Names of the gateway's HTTP filters, by which routes turn them on and off."""

ERROR_WRAPPER = "envoy.filters.http.lua"
"""Gives transcoded errors their shape; off where a backend speaks HTTP itself."""
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
