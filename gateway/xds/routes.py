"""Routes of the one port: gRPC services by prefix, the gateway's own pages, and the edge for everything else."""

from collections.abc import Iterator
from datetime import timedelta

from envoy_data_plane.envoy.config.core.v3 import DataSource, Metadata
from envoy_data_plane.envoy.config.route.v3 import (
    DirectResponseAction,
    HeaderMatcher,
    RetryPolicy,
    RetryPolicyRetryHostPredicate,
    Route,
    RouteAction,
    RouteActionMaxStreamDuration,
    RouteActionUpgradeConfig,
    RouteConfiguration,
    RouteMatch,
    VirtualHost,
)
from envoy_data_plane.envoy.extensions.filters.http.buffer.v3 import Buffer, BufferPerRoute
from envoy_data_plane.envoy.extensions.filters.http.grpc_json_transcoder.v3 import GrpcJsonTranscoder
from envoy_data_plane.envoy.extensions.filters.http.lua.v3 import LuaPerRoute
from envoy_data_plane.envoy.extensions.retry.host.previous_hosts.v3 import PreviousHostsPredicate
from envoy_data_plane.envoy.type.matcher.v3 import StringMatcher
from envoy_data_plane.google.protobuf import Any, Struct

from gateway.contracts import area
from gateway.xds.clusters import CONTROL_GRPC, CONTROL_HTTP, EDGE
from gateway.xds.cors import CORS, cors_policy
from gateway.xds.failures import FAILURES, UNKNOWN_SERVICE
from gateway.xds.methods import StreamingMethods
from gateway.xds.snapshot import Snapshot

NAME = "gateway"
METADATA = "soma"
"""Namespace of what a route says about itself to the local replies."""
OWNER = "owner"
ERROR_WRAPPER = "envoy.filters.http.lua"
"""Filter that gives transcoded errors their shape; off where a backend speaks HTTP itself."""
BODY_LIMIT = "envoy.filters.http.buffer"
"""Filter that takes a whole body before it goes on, up to a limit: the transcoder's own does not hold for a long
string, which it would collect without end. Off except where a route turns it on."""
TRANSCODER = "envoy.filters.http.grpc_json_transcoder"

_CONTROL_GRPC_PREFIXES = ("/grpc.reflection.", "/grpc.health.v1.Health/")
_CONTROL_PATHS = (
    *("/health", "/ready", "/metrics", "/docs", "/openapi.json"),
    *("/api/v1/health", "/api/v1/ready", "/api/v1/metrics"),
)
_NO_LIMIT = timedelta(0)
_ANOTHER_INSTANCE = RetryPolicyRetryHostPredicate(
    name="envoy.retry_host_predicates.previous_hosts", typed_config=Any.pack(PreviousHostsPredicate())
)


def route_configuration(snapshot: Snapshot, streaming: StreamingMethods) -> RouteConfiguration:
    """Every route, most specific first."""
    cors = {CORS: Any.pack(cors_policy(snapshot.cors_origins))} if snapshot.cors_origins else {}
    routes = list(_routes(snapshot, streaming))
    host = VirtualHost(name="any", domains=["*"], routes=routes, typed_per_filter_config=cors)
    return RouteConfiguration(name=NAME, virtual_hosts=[host])


def _routes(snapshot: Snapshot, streaming: StreamingMethods) -> Iterator[Route]:
    unary = timedelta(seconds=snapshot.limits.unary_timeout_seconds)
    for service in sorted(snapshot.services):
        metadata = _metadata(area(service))
        for method in streaming.get(service, ()):
            match = RouteMatch(path=f"/{service}/{method}")
            yield Route(match=match, route=_to_grpc(service, _NO_LIMIT), metadata=metadata)
        yield Route(match=RouteMatch(prefix=f"/{service}/"), route=_to_grpc(service, unary), metadata=metadata)
    for prefix in _CONTROL_GRPC_PREFIXES:
        route = _to_grpc(CONTROL_GRPC, _NO_LIMIT)
        yield Route(match=RouteMatch(prefix=prefix), route=route, metadata=_metadata("gateway"))
    yield _unknown_grpc()
    body_limit = Any.pack(BufferPerRoute(buffer=Buffer(max_request_bytes=snapshot.limits.max_request_bytes)))
    for path in _CONTROL_PATHS:
        yield _to_http(RouteMatch(path=path), CONTROL_HTTP, "gateway", {BODY_LIMIT: body_limit})
    yield _to_http(RouteMatch(prefix="/docs/"), CONTROL_HTTP, "gateway", {BODY_LIMIT: body_limit})
    yield _websocket()
    # Also where REST comes from, before the transcoder has given it the path of its RPC.
    yield _to_http(RouteMatch(prefix="/"), EDGE, EDGE, {BODY_LIMIT: body_limit})


def _to_grpc(cluster: str, unless_deadline: timedelta) -> RouteAction:
    """Forward for as long as the call's own deadline says, or `unless_deadline` where it has none.

    With `_NO_LIMIT`, which is for streams, the deadline is left to the client and the service: all Envoy could do about
    a stream that has begun is to reset it, and a client that sees that before its own clock strikes reads INTERNAL.
    """
    return RouteAction(
        cluster=cluster,
        timeout=_NO_LIMIT,
        max_stream_duration=RouteActionMaxStreamDuration(
            max_stream_duration=unless_deadline, grpc_timeout_header_max=_NO_LIMIT if unless_deadline else None
        ),
        # Both mean that the instance has not begun the call, so that another one may.
        retry_policy=RetryPolicy(
            retry_on="connect-failure,refused-stream",
            num_retries=2,
            retry_host_predicate=[_ANOTHER_INSTANCE],
            host_selection_retry_max_attempts=5,
        ),
    )


def _to_http(
    match: RouteMatch, cluster: str, owner: str, filters: dict[str, Any], upgrades: tuple[str, ...] = ()
) -> Route:
    return Route(
        match=match,
        route=RouteAction(
            cluster=cluster,
            timeout=_NO_LIMIT,
            upgrade_configs=[RouteActionUpgradeConfig(upgrade_type=upgrade) for upgrade in upgrades],
        ),
        metadata=_metadata(owner),
        typed_per_filter_config={ERROR_WRAPPER: Any.pack(LuaPerRoute(disabled=True)), **filters},
    )


def _websocket() -> Route:
    """An upgrade has no end of body to wait for, so no limit of its size; and it is nothing to transcode."""
    upgrade = HeaderMatcher(name="upgrade", string_match=StringMatcher(exact="websocket", ignore_case=True))
    nothing = Any.pack(GrpcJsonTranscoder(proto_descriptor_bin=b""))
    match = RouteMatch(prefix="/", headers=[upgrade])
    return _to_http(match, EDGE, EDGE, {TRANSCODER: nothing}, upgrades=("websocket",))


def _unknown_grpc() -> Route:
    """Calls by gRPC or grpc-web to a service nobody named: Envoy turns 404 into UNIMPLEMENTED."""
    content_type = HeaderMatcher(name="content-type", string_match=StringMatcher(prefix="application/grpc"))
    return Route(
        match=RouteMatch(prefix="/", headers=[content_type]),
        direct_response=DirectResponseAction(status=404, body=DataSource(inline_string=UNKNOWN_SERVICE.text(""))),
        metadata=_metadata(""),
    )


def _metadata(owner: str) -> Metadata:
    details = {failure.reason: failure.details_bin(owner) for failure in (*FAILURES, UNKNOWN_SERVICE)}
    return Metadata(filter_metadata={METADATA: Struct.from_dict({OWNER: owner, **details})})
