"""Routes of REST calls as they come in, before the transcoder has given them the paths of their RPCs.

Which of them a call takes says what is read of its body; where it goes is decided again once it is transcoded. A call
that still has its path then is bound to no RPC, and these routes say so.
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
from gateway.xds.filters import BODY_CHECK, BODY_DRAIN, ERROR_WRAPPER, QUERY_TOKEN, REFUSE, whole
from gateway.xds.owners import owned_by
from gateway.xds.snapshot import Limits

_NOBODY = "nobody"
# A Lua filter a route says something of is on.
ON = Any.pack(LuaPerRoute(filter_context=Struct()))


def rest_routes(bindings: Sequence[Binding], fields: Fields, limits: Limits) -> Iterator[Route]:
    """One route for each binding, one for each path asked in another way, and one for what nothing is bound to."""
    # The CORS filter answers these before anything else is asked of them, given a route to take the policy from.
    preflight = HeaderMatcher(name="access-control-request-method", present_match=True)
    yield _unbound(RouteMatch(prefix="/", headers=[_method("OPTIONS"), preflight]), "gateway", limits)
    # The transcoder would pass over a slash at the end, and what is read of the body here would not be.
    slash = RouteMatch(safe_regex=RegexMatcher(regex=".*/"))
    yield refusing(slash, "gateway", limits, {"status": "404", "text": "no such path"})
    for binding in bindings:
        match = _path(binding)
        match.headers.append(_method(binding.verb))
        body = fields.body(binding)
        filters = _read(limits, body) if body else _bodiless(limits)
        if binding.events:
            filters[QUERY_TOKEN] = ON
        yield to_nobody(match, area(binding.service), filters)
    ways: dict[str, list[Binding]] = {}
    for binding in bindings:
        ways.setdefault(binding.regex, []).append(binding)
    for bound in ways.values():
        verbs = ", ".join(sorted({binding.verb for binding in bound}))
        text = f"{bound[0].template} takes {verbs}"
        yield refusing(_path(bound[0]), area(bound[0].service), limits, {"status": "405", "text": text, "allow": verbs})
    yield _unbound(RouteMatch(prefix="/"), "gateway", limits)


def _unbound(match: RouteMatch, owner: str, limits: Limits) -> Route:
    """Not found, whatever its body is."""
    return to_nobody(match, owner, _read(limits))


def refusing(match: RouteMatch, owner: str, limits: Limits, refusal: dict[str, str]) -> Route:
    """Refused with the `status` and `text` of the refusal, and its `allow` if it has one; never transcoded."""
    refuse = LuaPerRoute(name=REFUSE, filter_context=Struct.from_dict({**refusal}))
    return to_nobody(match, owner, _read(limits) | {BODY_CHECK: Any.pack(refuse)})


def to_nobody(match: RouteMatch, owner: str, filters: dict[str, Any]) -> Route:
    """Not found, unless a filter answers first.

    A cluster nobody has, and not a response of the route's own, with which the CORS filter would pass the call by.
    """
    action = RouteAction(
        cluster=_NOBODY, cluster_not_found_response_code=RouteActionClusterNotFoundResponseCode.NOT_FOUND
    )
    return Route(match=match, route=action, metadata=owned_by(owner), typed_per_filter_config=filters)


def _read(limits: Limits, message: str = "") -> dict[str, Any]:
    """Read to its end, or what is the limit of that; `message` is what the body must be."""
    filters = _bodiless(limits) | {BODY_DRAIN: ON}
    if message:
        filters[BODY_CHECK] = Any.pack(LuaPerRoute(filter_context=Struct.from_dict({"message": message})))
    return filters


def _bodiless(limits: Limits) -> dict[str, Any]:
    """Bounded all the same; nobody has to be let finish a body that is none of the call's."""
    # What is answered here has the shape of errors already.
    return whole(limits.max_request_bytes) | {ERROR_WRAPPER: Any.pack(LuaPerRoute(disabled=True))}


def _path(binding: Binding) -> RouteMatch:
    if "{" in binding.template:
        return RouteMatch(safe_regex=RegexMatcher(regex=binding.regex))
    return RouteMatch(path=binding.template)


def _method(verb: str) -> HeaderMatcher:
    return HeaderMatcher(name=":method", string_match=StringMatcher(exact=verb))
