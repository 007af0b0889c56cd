"""Routes of the one port: gRPC services by prefix, the gateway's own pages, the edge's paths, and REST."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

from envoy_data_plane.envoy.config.core.v3 import HeaderValue, HeaderValueOption, Metadata
from envoy_data_plane.envoy.config.route.v3 import (
    HeaderMatcher,
    QueryParameterMatcher,
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
from envoy_data_plane.envoy.extensions.retry.host.previous_hosts.v3 import PreviousHostsPredicate
from envoy_data_plane.envoy.type.matcher.v3 import RegexMatcher, StringMatcher
from envoy_data_plane.envoy.type.v3 import Int64Range
from envoy_data_plane.google.protobuf import Any

from gateway import pages, reference
from gateway.contracts import area
from gateway.edge.paths import EVENTS, PREFIXES
from gateway.xds.bindings import bindings
from gateway.xds.clusters import CONTROL_GRPC, CONTROL_HTTP, EDGE, unary
from gateway.xds.compression import COMPRESSOR
from gateway.xds.cors import CORS, cors_policy
from gateway.xds.fields import Fields
from gateway.xds.filters import ERROR_WRAPPER, GRPC_WEB, QUERY_TOKEN, TRANSCODER, whole, without
from gateway.xds.methods import StreamingMethods
from gateway.xds.owners import owned_by
from gateway.xds.rest import ON, refusing, rest_routes, to_nobody
from gateway.xds.snapshot import Limits, Snapshot
from services.mesh.call.interceptors.compression import METADATA_KEY as GRPC_ENCODING

NAME = "gateway"

_CONTROL_GRPC_PREFIXES = ("/grpc.reflection.", "/grpc.health.v1.Health/")
_NO_LIMIT = timedelta(0)
# What stands before a message on the wire, and room for frames after the last.
_FRAMING_BYTES = 1024
# The edge has a limit of its own, with words of its own, and reads what is this many times too large to say them.
_EDGE_BODIES = 4
_MOST = 2**63 - 1
_ANOTHER_INSTANCE = RetryPolicyRetryHostPredicate(
    name="envoy.retry_host_predicates.previous_hosts", typed_config=Any.pack(PreviousHostsPredicate())
)

_NO_GRPC = HeaderMatcher(
    name="content-type",
    string_match=StringMatcher(prefix="application/grpc"),
    invert_match=True,
    treat_missing_header_as_empty=True,
)
_GET = HeaderMatcher(name=":method", string_match=StringMatcher(exact="GET"))
_NO_POST = HeaderMatcher(name=":method", string_match=StringMatcher(exact="POST"), invert_match=True)
_ONLY_POST = {"status": "405", "text": "gRPC is POST", "allow": "POST"}
# Envoy adds them, and gRPC would make metadata of them for each call.
_OF_NO_USE_TO_A_SERVICE = ["x-forwarded-for", "x-forwarded-proto", "x-envoy-external-address"]
# Of a unary call that failed: a client of gRPC would read it as metadata.
_OF_NO_USE_TO_A_CLIENT = ["content-length"]

# Not of a page's, and not what the transcoder has made of a call of REST.
_NATIVE = [
    HeaderMatcher(name="content-type", string_match=StringMatcher(prefix="application/grpc")),
    HeaderMatcher(name="content-type", string_match=StringMatcher(prefix="application/grpc-web"), invert_match=True),
    HeaderMatcher(name="x-envoy-original-path", present_match=False),
]
# A client may send gzip and read none.
_COMPRESSED = [
    HeaderMatcher(name="grpc-encoding", string_match=StringMatcher(exact="gzip")),
    HeaderMatcher(name="grpc-accept-encoding", string_match=StringMatcher(contains="gzip")),
]
# Filters a call would pass through to no end: each costs some time even where it does nothing.
_NOT_FOR_NATIVE = without(CORS, COMPRESSOR, ERROR_WRAPPER, GRPC_WEB, TRANSCODER)
_NOT_FOR_HTTP = without(ERROR_WRAPPER, GRPC_WEB, TRANSCODER)


def route_configuration(snapshot: Snapshot, streaming: StreamingMethods) -> RouteConfiguration:
    """Every route, most specific first."""
    cors = {CORS: Any.pack(cors_policy(snapshot.cors_origins))} if snapshot.cors_origins else {}
    routes = list(_routes(snapshot, streaming))
    host = VirtualHost(name="any", domains=["*"], routes=routes, typed_per_filter_config=cors)
    return RouteConfiguration(name=NAME, virtual_hosts=[host])


def _routes(snapshot: Snapshot, streaming: StreamingMethods) -> Iterator[Route]:
    yield _websocket()
    yield from _edge(snapshot.limits)
    whole_request = whole(snapshot.limits.max_request_bytes)
    for path in pages.PATHS:
        yield _to_http(RouteMatch(path=path, headers=[_NO_GRPC]), CONTROL_HTTP, "gateway", whole_request)
    for prefix in reference.PAGES:
        match = RouteMatch(path_separated_prefix=prefix, headers=[_NO_GRPC])
        yield _to_http(match, CONTROL_HTTP, "gateway", whole_request)
    yield from _grpc(snapshot, streaming)
    bound = [binding for binding in bindings(snapshot.descriptor_set) if binding.service in snapshot.services]
    yield from rest_routes(bound, Fields(snapshot.descriptor_set), snapshot.limits)


def _edge(limits: Limits) -> Iterator[Route]:
    most = _EDGE_BODIES * limits.max_request_bytes
    streamed = QueryParameterMatcher(name="stream", string_match=StringMatcher(exact="true"))
    events = RouteMatch(safe_regex=RegexMatcher(regex=EVENTS), headers=[_GET], query_parameters=[streamed])
    yield _to_http(events, EDGE, EDGE, whole(most) | {QUERY_TOKEN: ON})
    announced = HeaderMatcher(name="content-length", range_match=Int64Range(start=most + 1, end=_MOST))
    for prefix in PREFIXES:
        # At once: it would not even be read to its end.
        match = RouteMatch(path_separated_prefix=prefix, headers=[announced, _NO_GRPC])
        yield refusing(match, EDGE, limits, {"status": "413", "text": ""})
        match = RouteMatch(path_separated_prefix=prefix, headers=[_NO_GRPC])
        yield _to_http(match, EDGE, EDGE, whole(most))


def _grpc(snapshot: Snapshot, streaming: StreamingMethods) -> Iterator[Route]:
    seconds = timedelta(seconds=snapshot.limits.unary_timeout_seconds)
    refusal = {"status": "415", "text": "this path takes gRPC only; what it is over REST, /openapi.json says"}
    for prefix in sorted({f"/{service.partition('.')[0]}." for service in snapshot.services}):
        yield refusing(RouteMatch(prefix=prefix, headers=[_NO_GRPC]), "gateway", snapshot.limits, refusal)
        yield refusing(RouteMatch(prefix=prefix, headers=[_NO_POST]), "gateway", snapshot.limits, _ONLY_POST)
    # What takes its time to arrive waits here, where it is in nobody's way: a service takes only so many calls.
    whole_call = whole(snapshot.limits.max_message_bytes + _FRAMING_BYTES)
    for service in sorted(snapshot.services):
        metadata = owned_by(area(service))
        for method, uploads in streaming.get(service, {}).items():
            match = RouteMatch(path=f"/{service}/{method}")
            yield from _service(match, _to_grpc(service, _NO_LIMIT), metadata, {} if uploads else whole_call)
        match = RouteMatch(prefix=f"/{service}/")
        cluster = unary(service) if service in snapshot.over_http1 else service
        yield from _service(match, _to_grpc(cluster, seconds), metadata, whole_call)
    for prefix in _CONTROL_GRPC_PREFIXES:
        route = _to_grpc(CONTROL_GRPC, _NO_LIMIT)
        yield Route(match=RouteMatch(prefix=prefix), route=route, metadata=owned_by("gateway"))
    yield _unknown_grpc()


def _service(match: RouteMatch, action: RouteAction, metadata: Metadata, filters: dict[str, Any]) -> Iterator[Route]:
    """For native clients who are to be answered in gzip, as they asked; for other native clients; for all others."""
    encoding = HeaderValueOption(header=HeaderValue(key=GRPC_ENCODING, value="gzip"))
    other = Route(
        match=match,
        route=action,
        metadata=metadata,
        request_headers_to_remove=_OF_NO_USE_TO_A_SERVICE,
        response_headers_to_remove=_OF_NO_USE_TO_A_CLIENT,
        typed_per_filter_config=filters,
    )
    native = replace(other, match=_with(match, _NATIVE), typed_per_filter_config=filters | _NOT_FOR_NATIVE)
    yield replace(native, match=_with(match, _NATIVE + _COMPRESSED), request_headers_to_add=[encoding])
    yield native
    yield other


def _with(match: RouteMatch, headers: list[HeaderMatcher]) -> RouteMatch:
    return RouteMatch(path=match.path, prefix=match.prefix, headers=headers)


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
            # One that is gone has nothing to do: of two instances the balancer picks it three times of four.
            host_selection_retry_max_attempts=50,
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
        metadata=owned_by(owner),
        typed_per_filter_config=filters | _NOT_FOR_HTTP,
    )


def _websocket() -> Route:
    """An upgrade has no end of body to wait for, so no limit of its size."""
    upgrade = HeaderMatcher(name="upgrade", string_match=StringMatcher(exact="websocket", ignore_case=True))
    return _to_http(RouteMatch(prefix="/", headers=[upgrade]), EDGE, EDGE, {}, upgrades=("websocket",))


def _unknown_grpc() -> Route:
    """Calls by gRPC or grpc-web to a service nobody named: Envoy turns 404 into UNIMPLEMENTED."""
    content_type = HeaderMatcher(name="content-type", string_match=StringMatcher(prefix="application/grpc"))
    return to_nobody(RouteMatch(prefix="/", headers=[content_type]), "", {})
