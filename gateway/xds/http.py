"""Routes to applications that speak HTTP themselves: the surfaces of services, and the gateway's own pages.

A surface has few routes however many paths it has: its paths are one expression.
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
from gateway.xds.filters import ERROR_WRAPPER, GRPC_WEB, QUERY_TOKEN, TRANSCODER, whole, without
from gateway.xds.owners import owned_by
from gateway.xds.rest import ON, refusing, to_nobody
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

# A surface may have a limit of its own, with words of its own, and reads what is this many times too large to say them.
_BODIES = 4
_MOST = 2**63 - 1
_WEBSOCKET = "websocket"
_UPGRADE = HeaderMatcher(name="upgrade", string_match=StringMatcher(exact=_WEBSOCKET, ignore_case=True))
_GET = HeaderMatcher(name=":method", string_match=StringMatcher(exact="GET"))
_NOT_FOR_HTTP = without(ERROR_WRAPPER, GRPC_WEB, TRANSCODER)


def socket_routes(surfaces: Iterable[pb.Surface]) -> Iterator[Route]:
    """WebSockets, each to the service that has it; any other is not found."""
    for surface in surfaces:
        if surface.sockets:
            match = RouteMatch(safe_regex=_any_of(surface.sockets), headers=[_UPGRADE])
            # An upgrade has no end of body to wait for, so no limit of its size.
            yield _upgraded(_to_http(match, surface.service, surface.service, {}))
    # Without the upgrade Envoy would refuse it in words of its own.
    yield _upgraded(to_nobody(RouteMatch(prefix="/", headers=[_UPGRADE]), "gateway", dict(_NOT_FOR_HTTP)))


def surface_routes(surfaces: Iterable[pb.Surface], limits: Limits) -> Iterator[Route]:
    """Requests for the paths of surfaces, each to the service that has it."""
    for surface in surfaces:
        most = surface.max_body_bytes or _BODIES * limits.max_request_bytes
        for each in map(stream, surface.streams):
            asked = [_query(*each.query)] if each.query else []
            regex = RegexMatcher(regex=each.template.regex)
            events = RouteMatch(safe_regex=regex, headers=[_GET], query_parameters=asked)
            yield _to_http(events, surface.service, surface.service, whole(most) | {QUERY_TOKEN: ON})
        if surface.paths:
            paths = _any_of(surface.paths)
            # At once: it would not even be read to its end.
            announced = HeaderMatcher(name="content-length", range_match=Int64Range(start=most + 1, end=_MOST))
            match = RouteMatch(safe_regex=paths, headers=[announced, NO_GRPC])
            yield refusing(match, surface.service, limits, {"status": "413", "text": ""})
            match = RouteMatch(safe_regex=paths, headers=[NO_GRPC])
            yield _to_http(match, surface.service, surface.service, whole(most))


def page_routes(limits: Limits) -> Iterator[Route]:
    """The gateway's own pages, which the control process has."""
    whole_request = whole(limits.max_request_bytes)
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
        typed_per_filter_config=filters | _NOT_FOR_HTTP,
    )


def _upgraded(route: Route) -> Route:
    assert route.route is not None
    route.route.upgrade_configs = [RouteActionUpgradeConfig(upgrade_type=_WEBSOCKET)]
    return route


def _query(name: str, value: str) -> QueryParameterMatcher:
    return QueryParameterMatcher(name=name, string_match=StringMatcher(exact=value))


def _any_of(texts: Iterable[str]) -> RegexMatcher:
    return RegexMatcher(regex="|".join(declared(text).regex for text in texts))
