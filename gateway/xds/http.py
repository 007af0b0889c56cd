"""Routes to applications that speak HTTP themselves: the surfaces of services, and the gateway's own pages.

All paths of a surface are one regular expression, so that many paths do not mean many routes.
"""

from collections.abc import Iterable, Iterator
from datetime import timedelta

from envoy_data_plane.envoy.config.route.v3 import (
    HeaderMatcher,
    QueryParameterMatcher,
    Route,
    RouteAction,
    RouteActionUpgradeConfig,
    RouteMatch,
)
from envoy_data_plane.envoy.type.matcher.v3 import RegexMatcher, StringMatcher
from envoy_data_plane.envoy.type.v3 import Int64Range
from envoy_data_plane.google.protobuf import Any
from soma.mesh.v1 import surface_pb2 as pb

from gateway import pages, reference
from gateway.xds.clusters import CONTROL_HTTP
from gateway.xds.filters import ERROR_WRAPPER, GRPC_WEB, LUA_ON, QUERY_TOKEN, TRANSCODER, admitted, buffered, disabled
from gateway.xds.owners import owned_by
from gateway.xds.rest import not_found, refusing
from gateway.xds.retries import unless_begun
from gateway.xds.snapshot import Limits
from services.mesh.surfaces.surface import stream
from services.mesh.surfaces.template import declared

NO_GRPC = HeaderMatcher(
    name="content-type",
    string_match=StringMatcher(prefix="application/grpc"),
    invert_match=True,
    treat_missing_header_as_empty=True,
)

# A surface may have a limit of its own, and answers in its own words when a body is too large. So it gets bodies that
# are up to this many times larger than the limit of REST.
_SURFACE_BODY_FACTOR = 4
_INT64_MAX = 2**63 - 1
_WEBSOCKET = "websocket"
_UPGRADE = HeaderMatcher(name="upgrade", string_match=StringMatcher(exact=_WEBSOCKET, ignore_case=True))
_GET = HeaderMatcher(name=":method", string_match=StringMatcher(exact="GET"))
_GRPC_FILTERS_OFF = disabled(ERROR_WRAPPER, GRPC_WEB, TRANSCODER)


def socket_routes(surfaces: Iterable[pb.Surface]) -> Iterator[Route]:
    """Routes of WebSockets to their services; any other WebSocket is answered with 404."""
    for surface in surfaces:
        if surface.sockets:
            match = RouteMatch(safe_regex=_any_of(surface.sockets), headers=[_UPGRADE])
            # The body of an upgrade does not end before the WebSocket, so it is not collected and has no limit.
            yield _upgraded(_to_http(match, surface.service, surface.service, {}))
    # If this route did not allow the upgrade, Envoy would refuse it with an error of its own.
    yield _upgraded(not_found(RouteMatch(prefix="/", headers=[_UPGRADE]), "gateway", dict(_GRPC_FILTERS_OFF)))


def surface_routes(surfaces: Iterable[pb.Surface], limits: Limits) -> Iterator[Route]:
    """Routes of the paths of surfaces to their services."""
    for surface in surfaces:
        limit = surface.max_body_bytes or _SURFACE_BODY_FACTOR * limits.max_request_bytes
        for each in map(stream, surface.streams):
            query = [_query(*each.query)] if each.query else []
            regex = RegexMatcher(regex=each.template.regex)
            events = RouteMatch(safe_regex=regex, headers=[_GET], query_parameters=query)
            yield _to_http(events, surface.service, surface.service, buffered(limit) | {QUERY_TOKEN: LUA_ON})
        if surface.paths:
            paths = _any_of(surface.paths)
            # A body that is announced to be too large is refused at once.
            announced = HeaderMatcher(name="content-length", range_match=Int64Range(start=limit + 1, end=_INT64_MAX))
            match = RouteMatch(safe_regex=paths, headers=[announced, NO_GRPC])
            yield refusing(match, surface.service, limits, {"status": "413", "text": ""})
            match = RouteMatch(safe_regex=paths, headers=[NO_GRPC])
            yield _to_http(match, surface.service, surface.service, admitted(limit))


def page_routes(limits: Limits) -> Iterator[Route]:
    """Routes of the gateway's own pages to the control process."""
    whole_request = buffered(limits.max_request_bytes)
    for path in pages.PATHS:
        yield _to_http(RouteMatch(path=path, headers=[NO_GRPC]), CONTROL_HTTP, "gateway", whole_request)
    for prefix in reference.PAGES:
        match = RouteMatch(path_separated_prefix=prefix, headers=[NO_GRPC])
        yield _to_http(match, CONTROL_HTTP, "gateway", whole_request)


def _to_http(match: RouteMatch, cluster: str, owner: str, filters: dict[str, Any]) -> Route:
    return Route(
        match=match,
        route=RouteAction(cluster=cluster, timeout=timedelta(0), retry_policy=unless_begun()),
        metadata=owned_by(owner),
        typed_per_filter_config=filters | _GRPC_FILTERS_OFF,
    )


def _upgraded(route: Route) -> Route:
    assert route.route is not None
    route.route.upgrade_configs = [RouteActionUpgradeConfig(upgrade_type=_WEBSOCKET)]
    return route


def _query(name: str, value: str) -> QueryParameterMatcher:
    return QueryParameterMatcher(name=name, string_match=StringMatcher(exact=value))


def _any_of(texts: Iterable[str]) -> RegexMatcher:
    return RegexMatcher(regex="|".join(declared(text).regex for text in texts))
