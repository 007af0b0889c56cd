"""Routes of the one port: gRPC services by prefix, the gateway's own pages, and the edge for everything else."""

from collections.abc import Iterator
from datetime import timedelta

from envoy_data_plane.envoy.config.core.v3 import DataSource, Metadata
from envoy_data_plane.envoy.config.route.v3 import (
    DirectResponseAction,
    HeaderMatcher,
    RetryPolicy,
    Route,
    RouteAction,
    RouteActionMaxStreamDuration,
    RouteActionUpgradeConfig,
    RouteConfiguration,
    RouteMatch,
    VirtualHost,
)
from envoy_data_plane.envoy.extensions.filters.http.lua.v3 import LuaPerRoute
from envoy_data_plane.envoy.type.matcher.v3 import StringMatcher
from envoy_data_plane.google.protobuf import Any, Struct

from gateway.xds.clusters import CONTROL_GRPC, CONTROL_HTTP, EDGE
from gateway.xds.contracts import Contracts, area
from gateway.xds.failures import BY_FLAG, UNKNOWN_METHOD
from gateway.xds.snapshot import Snapshot

NAME = "gateway"
METADATA = "soma"
"""Namespace of what a route says about itself to the local replies."""
OWNER = "owner"
ERROR_WRAPPER = "envoy.filters.http.lua"
"""Filter that gives transcoded errors their shape; off where a backend speaks HTTP itself."""

_CONTROL_GRPC_PREFIXES = ("/grpc.reflection.", "/grpc.health.v1.Health/")
_CONTROL_PATHS = (
    *("/health", "/ready", "/metrics", "/docs", "/openapi.json"),
    *("/api/v1/health", "/api/v1/ready", "/api/v1/metrics"),
)
_NO_LIMIT = timedelta(0)


def route_configuration(snapshot: Snapshot, contracts: Contracts) -> RouteConfiguration:
    """Every route, most specific first."""
    host = VirtualHost(name="any", domains=["*"], routes=list(_routes(snapshot, contracts)))
    return RouteConfiguration(name=NAME, virtual_hosts=[host])


def _routes(snapshot: Snapshot, contracts: Contracts) -> Iterator[Route]:
    unary = timedelta(seconds=snapshot.limits.unary_timeout_seconds)
    for service in sorted(snapshot.services):
        metadata = _metadata(area(service))
        for method in contracts.streaming.get(service, ()):
            match = RouteMatch(path=f"/{service}/{method}")
            yield Route(match=match, route=_to_grpc(service, _NO_LIMIT), metadata=metadata)
        yield Route(match=RouteMatch(prefix=f"/{service}/"), route=_to_grpc(service, unary), metadata=metadata)
    for prefix in _CONTROL_GRPC_PREFIXES:
        route = _to_grpc(CONTROL_GRPC, _NO_LIMIT)
        yield Route(match=RouteMatch(prefix=prefix), route=route, metadata=_metadata("gateway"))
    yield _unknown_grpc()
    for path in _CONTROL_PATHS:
        yield _to_http(RouteMatch(path=path), CONTROL_HTTP, "gateway")
    yield _to_http(RouteMatch(prefix="/docs/"), CONTROL_HTTP, "gateway")
    yield _to_http(RouteMatch(prefix="/"), EDGE, EDGE, websocket=True)


def _to_grpc(cluster: str, unless_deadline: timedelta) -> RouteAction:
    """Forward for as long as the call's own deadline says, or `unless_deadline` where it has none (0: no limit)."""
    return RouteAction(
        cluster=cluster,
        timeout=_NO_LIMIT,
        max_stream_duration=RouteActionMaxStreamDuration(
            max_stream_duration=unless_deadline, grpc_timeout_header_max=_NO_LIMIT
        ),
        # Both mean that the instance has not begun the call, so that another one may.
        retry_policy=RetryPolicy(retry_on="connect-failure,refused-stream", num_retries=2),
    )


def _to_http(match: RouteMatch, cluster: str, owner: str, *, websocket: bool = False) -> Route:
    upgrades = [RouteActionUpgradeConfig(upgrade_type="websocket")] if websocket else []
    return Route(
        match=match,
        route=RouteAction(cluster=cluster, timeout=_NO_LIMIT, upgrade_configs=upgrades),
        metadata=_metadata(owner),
        typed_per_filter_config={ERROR_WRAPPER: Any.pack(LuaPerRoute(disabled=True))},
    )


def _unknown_grpc() -> Route:
    """Calls by gRPC or grpc-web to a service nobody named: Envoy turns 404 into UNIMPLEMENTED."""
    content_type = HeaderMatcher(name="content-type", string_match=StringMatcher(prefix="application/grpc"))
    return Route(
        match=RouteMatch(prefix="/", headers=[content_type]),
        direct_response=DirectResponseAction(status=404, body=DataSource(inline_string=UNKNOWN_METHOD.text(""))),
        metadata=_metadata(""),
    )


def _metadata(owner: str) -> Metadata:
    details = {failure.reason: failure.details_bin(owner) for failure in (*BY_FLAG, UNKNOWN_METHOD)}
    return Metadata(filter_metadata={METADATA: Struct.from_dict({OWNER: owner, **details})})
