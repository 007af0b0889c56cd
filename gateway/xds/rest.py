"""Routes of REST calls as they come in, before the transcoder has given them the paths of their RPCs.

Which of them a call takes says what is read of its body; where it goes is decided again once it is transcoded. A call
that still has its path then is bound to no RPC, and these routes say so.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby

from envoy_data_plane.envoy.config.core.v3 import (
    DataSource,
    HeaderValue,
    HeaderValueOption,
    HeaderValueOptionHeaderAppendAction,
)
from envoy_data_plane.envoy.config.route.v3 import DirectResponseAction, HeaderMatcher, Route, RouteMatch
from envoy_data_plane.envoy.extensions.filters.http.buffer.v3 import Buffer, BufferPerRoute
from envoy_data_plane.envoy.extensions.filters.http.lua.v3 import LuaPerRoute
from envoy_data_plane.envoy.type.matcher.v3 import RegexMatcher, StringMatcher
from envoy_data_plane.google.protobuf import Any, Struct

from gateway.contracts import area
from gateway.xds.bindings import Binding
from gateway.xds.fields import Fields
from gateway.xds.filters import BODY_CHECK, BODY_LIMIT, ERROR_WRAPPER
from gateway.xds.owners import owned_by
from gateway.xds.snapshot import Limits


def rest_routes(bindings: Sequence[Binding], fields: Fields, limits: Limits) -> Iterator[Route]:
    """One route for each binding, one for each path asked in another way, and one for paths nothing is bound to."""
    for binding in bindings:
        match = RouteMatch(
            safe_regex=RegexMatcher(regex=binding.regex),
            headers=[HeaderMatcher(name=":method", string_match=StringMatcher(exact=binding.verb))],
        )
        yield _refusal(match, 404, "no such path", area(binding.service), limits, fields.body(binding))
    # Equal templates are neighbours: the bindings come sorted by them.
    for template, same in groupby(bindings, key=lambda binding: binding.template):
        paths = list(same)
        verbs = ", ".join(sorted({binding.verb for binding in paths}))
        match = RouteMatch(safe_regex=RegexMatcher(regex=paths[0].regex))
        route = _refusal(match, 405, f"{template} takes {verbs}", area(paths[0].service), limits)
        route.response_headers_to_add.append(_header("allow", verbs))
        yield route
    yield _refusal(RouteMatch(prefix="/"), 404, "no such path", "gateway", limits)


def _refusal(match: RouteMatch, status: int, text: str, owner: str, limits: Limits, message: str = "") -> Route:
    """What is answered to a call that the transcoder leaves as it came; `message` is what its body must be."""
    limit = BufferPerRoute(buffer=Buffer(max_request_bytes=limits.max_request_bytes))
    # What is answered here has the shape of errors already.
    filters = {BODY_LIMIT: Any.pack(limit), ERROR_WRAPPER: Any.pack(LuaPerRoute(disabled=True))}
    if message:
        filters[BODY_CHECK] = Any.pack(LuaPerRoute(filter_context=Struct.from_dict({"message": message})))
    return Route(
        match=match,
        direct_response=DirectResponseAction(status=status, body=DataSource(inline_string=text)),
        metadata=owned_by(owner),
        typed_per_filter_config=filters,
    )


def _header(key: str, value: str) -> HeaderValueOption:
    return HeaderValueOption(
        header=HeaderValue(key=key, value=value),
        append_action=HeaderValueOptionHeaderAppendAction.OVERWRITE_IF_EXISTS_OR_ADD,
    )
