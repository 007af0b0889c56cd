"""Which pages may call the gateway from a browser, and what they may send and read (CORS)."""

from collections.abc import Iterable

from envoy_data_plane.envoy.extensions.filters.http.cors.v3 import CorsPolicy
from envoy_data_plane.envoy.type.matcher.v3 import StringMatcher

CORS = "envoy.filters.http.cors"

_METHODS = "GET,POST,PUT,PATCH,DELETE"
# A star means every header except `authorization`, which must be named.
_REQUEST_HEADERS = "authorization,*"
# All of them: grpc-web needs the headers with the status and the reason of a failed call.
_RESPONSE_HEADERS = "*"
_PREFLIGHT_SECONDS = 7200


def cors_policy(origins: Iterable[str]) -> CorsPolicy:
    """The policy for pages of `origins`; `*` means every page.

    It allows no cookies: callers authenticate with a header, which a page of another origin cannot send for them.
    """
    return CorsPolicy(
        allow_origin_string_match=[StringMatcher(exact=origin) for origin in origins],
        allow_methods=_METHODS,
        allow_headers=_REQUEST_HEADERS,
        expose_headers=_RESPONSE_HEADERS,
        max_age=str(_PREFLIGHT_SECONDS),
        # Envoy answers pages of other origins itself, without the headers that allow calls: no backend knows CORS.
        forward_not_matching_preflights=False,
    )
