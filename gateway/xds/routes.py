"""Routes of the public port: surfaces, the gateway's own pages, gRPC services by prefix, and REST."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

from envoy_data_plane.envoy.config.core.v3 import HeaderValue, HeaderValueOption, Metadata
from envoy_data_plane.envoy.config.route.v3 import (
    HeaderMatcher,
    Route,
    RouteAction,
    RouteActionMaxStreamDuration,
    RouteConfiguration,
    RouteMatch,
    VirtualHost,
)
from envoy_data_plane.envoy.type.matcher.v3 import StringMatcher
from envoy_data_plane.google.protobuf import Any

from gateway.contracts import area
from gateway.xds.bindings import bindings
from gateway.xds.clusters import CONTROL_GRPC, unary
from gateway.xds.compression import COMPRESSOR
from gateway.xds.cors import CORS, cors_policy
from gateway.xds.fields import Fields
from gateway.xds.filters import ERROR_WRAPPER, GRPC_WEB, TRANSCODER, admitted, buffered, disabled
from gateway.xds.http import NO_GRPC, page_routes, socket_routes, surface_routes
from gateway.xds.methods import StreamingMethods, requests
from gateway.xds.owners import owned_by
from gateway.xds.rest import not_found, refusing, rest_routes
from gateway.xds.retries import unless_begun
from gateway.xds.snapshot import Snapshot
from services.mesh.call.authenticator import SOURCE
from services.mesh.call.interceptors.compression import METADATA_KEY as GRPC_ENCODING

NAME = "gateway"

_CONTROL_GRPC_PREFIXES = ("/grpc.reflection.", "/grpc.health.v1.Health/")
_NO_LIMIT = timedelta(0)
# Room for the prefix of a message on the wire, and for frames after the last message.
_FRAMING_BYTES = 1024

_NOT_POST = HeaderMatcher(name=":method", string_match=StringMatcher(exact="POST"), invert_match=True)
_ONLY_POST = {"status": "405", "text": "gRPC is POST", "allow": "POST"}
# Request headers that Envoy adds. gRPC would make metadata of them in each call, and no service needs them.
_DROPPED_REQUEST_HEADERS = ["x-forwarded-for", "x-forwarded-proto", "x-envoy-external-address"]
# Where a request comes from: wrong credentials are counted by it. A client cannot send this header.
_SOURCE = HeaderValueOption(header=HeaderValue(key=SOURCE, value="%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"))
# Response headers of a failed unary call, which gRPC clients would read as metadata.
_DROPPED_RESPONSE_HEADERS = ["content-length"]

# Native gRPC: neither grpc-web nor a transcoded REST call.
_NATIVE = [
    HeaderMatcher(name="content-type", string_match=StringMatcher(prefix="application/grpc")),
    HeaderMatcher(name="content-type", string_match=StringMatcher(prefix="application/grpc-web"), invert_match=True),
    HeaderMatcher(name="x-envoy-original-path", present_match=False),
]
# The client both sends and accepts gzip; some clients send it and cannot read it.
_GZIP = [
    HeaderMatcher(name="grpc-encoding", string_match=StringMatcher(exact="gzip")),
    HeaderMatcher(name="grpc-accept-encoding", string_match=StringMatcher(contains="gzip")),
]
# Filters that do nothing for native gRPC. They are off because each costs time even then.
_NATIVE_FILTERS_OFF = disabled(CORS, COMPRESSOR, ERROR_WRAPPER, GRPC_WEB, TRANSCODER)


def route_configuration(snapshot: Snapshot, streaming: StreamingMethods) -> RouteConfiguration:
    """All routes; the first that matches counts, so specific ones come first."""
    cors = {CORS: Any.pack(cors_policy(snapshot.cors_origins))} if snapshot.cors_origins else {}
    routes = list(_routes(snapshot, streaming))
    host = VirtualHost(name="any", domains=["*"], routes=routes, typed_per_filter_config=cors)
    return RouteConfiguration(name=NAME, virtual_hosts=[host], request_headers_to_add=[_SOURCE])


def _routes(snapshot: Snapshot, streaming: StreamingMethods) -> Iterator[Route]:
    yield from socket_routes(snapshot.surfaces)
    yield from surface_routes(snapshot.surfaces, snapshot.limits)
    yield from page_routes(snapshot.limits)
    yield from _grpc(snapshot, streaming)
    bound = [binding for binding in bindings(snapshot.descriptor_set) if binding.service in snapshot.services]
    yield from rest_routes(bound, Fields(snapshot.descriptor_set), snapshot.limits)


def _grpc(snapshot: Snapshot, streaming: StreamingMethods) -> Iterator[Route]:
    seconds = timedelta(seconds=snapshot.limits.unary_timeout_seconds)
    refusal = {"status": "415", "text": "this path takes gRPC only; what it is over REST, /openapi.json says"}
    for prefix in sorted({f"/{service.partition('.')[0]}." for service in snapshot.services}):
        yield refusing(RouteMatch(prefix=prefix, headers=[NO_GRPC]), "gateway", snapshot.limits, refusal)
        yield refusing(RouteMatch(prefix=prefix, headers=[_NOT_POST]), "gateway", snapshot.limits, _ONLY_POST)
    # A call is passed on only when it has arrived completely. Otherwise slow clients could use up the calls that a
    # service takes at the same time.
    limits = snapshot.limits
    whole_call = buffered(min(limits.max_request_bytes, limits.max_message_bytes) + _FRAMING_BYTES)
    large_call = admitted(limits.max_message_bytes + _FRAMING_BYTES)
    fields, asked = Fields(snapshot.descriptor_set), requests(snapshot.descriptor_set)
    for service in sorted(snapshot.services):
        metadata = owned_by(area(service))
        streams = streaming.get(service, {})
        with_media = {method for method, request in asked.get(service, {}).items() if fields.have_media(request)}
        for method, uploads in streams.items():
            match = RouteMatch(path=f"/{service}/{method}")
            whole = large_call if method in with_media else whole_call
            yield from _service_routes(match, _to_grpc(service, _NO_LIMIT), metadata, {} if uploads else whole)
        cluster = unary(service) if service in snapshot.over_http1 else service
        for method in sorted(with_media - streams.keys()):
            match = RouteMatch(path=f"/{service}/{method}")
            yield from _service_routes(match, _to_grpc(cluster, seconds), metadata, large_call)
        match = RouteMatch(prefix=f"/{service}/")
        yield from _service_routes(match, _to_grpc(cluster, seconds), metadata, whole_call)
    for prefix in _CONTROL_GRPC_PREFIXES:
        route = _to_grpc(CONTROL_GRPC, _NO_LIMIT)
        yield Route(match=RouteMatch(prefix=prefix), route=route, metadata=owned_by("gateway"))
    yield _unknown_grpc()


def _service_routes(
    match: RouteMatch, action: RouteAction, metadata: Metadata, filters: dict[str, Any]
) -> Iterator[Route]:
    """Three routes of a service: for native clients that use gzip, other native clients, and all others."""
    encoding = HeaderValueOption(header=HeaderValue(key=GRPC_ENCODING, value="gzip"))
    other = Route(
        match=match,
        route=action,
        metadata=metadata,
        request_headers_to_remove=_DROPPED_REQUEST_HEADERS,
        response_headers_to_remove=_DROPPED_RESPONSE_HEADERS,
        typed_per_filter_config=filters,
    )
    native = replace(other, match=_with(match, _NATIVE), typed_per_filter_config=filters | _NATIVE_FILTERS_OFF)
    yield replace(native, match=_with(match, _NATIVE + _GZIP), request_headers_to_add=[encoding])
    yield native
    yield other


def _with(match: RouteMatch, headers: list[HeaderMatcher]) -> RouteMatch:
    return RouteMatch(path=match.path, prefix=match.prefix, headers=headers)


def _to_grpc(cluster: str, unless_deadline: timedelta) -> RouteAction:
    """Forward a call until its own deadline, or for `unless_deadline` if it has none.

    `_NO_LIMIT` is for streams: only the client and the service watch the deadline then. Envoy could only reset a stream
    that has begun, and a client that sees the reset before its own deadline reports INTERNAL.
    """
    return RouteAction(
        cluster=cluster,
        timeout=_NO_LIMIT,
        max_stream_duration=RouteActionMaxStreamDuration(
            max_stream_duration=unless_deadline, grpc_timeout_header_max=_NO_LIMIT if unless_deadline else None
        ),
        retry_policy=unless_begun(),
    )


def _unknown_grpc() -> Route:
    """Calls over gRPC or grpc-web to an unknown service; Envoy turns the 404 into UNIMPLEMENTED."""
    content_type = HeaderMatcher(name="content-type", string_match=StringMatcher(prefix="application/grpc"))
    return not_found(RouteMatch(prefix="/", headers=[content_type]), "", {})
