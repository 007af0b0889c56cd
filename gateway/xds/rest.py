"""Routes of REST calls before they are transcoded.

Such a route decides how the body is read and checked. The transcoder then changes the path to that of the RPC, and
Envoy chooses a route again. A call that no binding matches keeps its path, so it stays on its route and is not found.
"""

from collections.abc import Iterator, Sequence

from envoy_data_plane.envoy.config.route.v3 import (
    HeaderMatcher,
    Route,
    RouteAction,
    RouteActionClusterNotFoundResponseCode,
    RouteMatch,
)
from envoy_data_plane.envoy.extensions.filters.http.lua.v3 import LuaPerRoute
from envoy_data_plane.envoy.type.matcher.v3 import RegexMatcher, StringMatcher
from envoy_data_plane.google.protobuf import Any, Struct

from gateway.contracts import area
from gateway.xds.bindings import Binding
from gateway.xds.fields import Fields
from gateway.xds.filters import BODY_CHECK, BODY_DRAIN, ERROR_WRAPPER, LUA_ON, QUERY_TOKEN, REFUSE, admitted, buffered
from gateway.xds.owners import owned_by
from gateway.xds.snapshot import Limits

_NO_CLUSTER = "nobody"


def rest_routes(bindings: Sequence[Binding], fields: Fields, limits: Limits) -> Iterator[Route]:
    """One route for each binding, one for other methods on each path, and one for all other paths."""
    # The CORS filter answers preflights, but only if a route matches them, from which it takes its policy.
    preflight = HeaderMatcher(name="access-control-request-method", present_match=True)
    yield _not_found_with_body(RouteMatch(prefix="/", headers=[_method("OPTIONS"), preflight]), "gateway", limits)
    # The transcoder ignores a slash at the end, but the routes below do not, so the body would not be checked.
    slash = RouteMatch(safe_regex=RegexMatcher(regex=".*/"))
    yield refusing(slash, "gateway", limits, {"status": "404", "text": "no such path"})
    for binding in bindings:
        match = _path(binding)
        match.headers.append(_method(binding.verb))
        body = fields.body(binding)
        large = bool(body) and fields.have_media(body)
        filters = _with_body(limits, body, large=large) if body else _without_body(limits)
        if binding.events:
            filters[QUERY_TOKEN] = LUA_ON
        yield not_found(match, area(binding.service), filters)
    by_path: dict[str, list[Binding]] = {}
    for binding in bindings:
        by_path.setdefault(binding.regex, []).append(binding)
    for bound in by_path.values():
        verbs = ", ".join(sorted({binding.verb for binding in bound}))
        text = f"{bound[0].template} takes {verbs}"
        yield refusing(_path(bound[0]), area(bound[0].service), limits, {"status": "405", "text": text, "allow": verbs})
    yield _not_found_with_body(RouteMatch(prefix="/"), "gateway", limits)


def _not_found_with_body(match: RouteMatch, owner: str, limits: Limits) -> Route:
    """A route that answers 404 after it has read the body."""
    return not_found(match, owner, _with_body(limits))


def refusing(match: RouteMatch, owner: str, limits: Limits, refusal: dict[str, str]) -> Route:
    """A route that refuses with the `status`, `text` and optional `allow` of the refusal, and never transcodes."""
    refuse = LuaPerRoute(name=REFUSE, filter_context=Struct.from_dict({**refusal}))
    return not_found(match, owner, _with_body(limits) | {BODY_CHECK: Any.pack(refuse)})


def not_found(match: RouteMatch, owner: str, filters: dict[str, Any]) -> Route:
    """A route that answers 404, unless a filter answers before.

    It leads to a cluster that does not exist. It has no direct response, because the CORS filter would skip that.
    """
    action = RouteAction(
        cluster=_NO_CLUSTER, cluster_not_found_response_code=RouteActionClusterNotFoundResponseCode.NOT_FOUND
    )
    return Route(match=match, route=action, metadata=owned_by(owner), typed_per_filter_config=filters)


def _with_body(limits: Limits, message: str = "", *, large: bool = False) -> dict[str, Any]:
    """Filters that read a body to its end, within limits, and check that it is a `message` if one is given."""
    limit = limits.max_message_bytes if large else limits.max_request_bytes
    drain = LuaPerRoute(filter_context=Struct.from_dict({"limit": limit}))
    filters = _without_body(limits) | {BODY_DRAIN: Any.pack(drain)}
    if large:
        filters |= admitted(limit)
    if message:
        filters[BODY_CHECK] = Any.pack(LuaPerRoute(filter_context=Struct.from_dict({"message": message})))
    return filters


def _without_body(limits: Limits) -> dict[str, Any]:
    """Filters of a call without a body; a body is limited too, but is refused at once if it is too large."""
    # Answers of these routes have the shape of errors already.
    return buffered(limits.max_request_bytes) | {ERROR_WRAPPER: Any.pack(LuaPerRoute(disabled=True))}


def _path(binding: Binding) -> RouteMatch:
    if "{" in binding.template:
        return RouteMatch(safe_regex=RegexMatcher(regex=binding.regex))
    return RouteMatch(path=binding.template)


def _method(verb: str) -> HeaderMatcher:
    return HeaderMatcher(name=":method", string_match=StringMatcher(exact=verb))
