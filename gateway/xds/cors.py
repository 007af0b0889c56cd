"""Which pages may call the gateway from a browser, and what they may send and read (CORS)."""

from collections.abc import Iterable

from envoy_data_plane.envoy.extensions.filters.http.cors.v3 import CorsPolicy
from envoy_data_plane.envoy.type.matcher.v3 import StringMatcher

CORS = "envoy.filters.http.cors"

_METHODS = "GET,POST,PUT,PATCH,DELETE"
# A star means every header but this one, which has to be named.
_SENT = "authorization,*"
# The status and reason of a failed call among them, for gRPC over the web.
_READ = "*"
_PREFLIGHT_SECONDS = 7200


def cors_policy(origins: Iterable[str]) -> CorsPolicy:
    """The policy for pages of `origins`, `*` being all.

    It lets no cookies through: who calls is said by a header, which a page of another origin cannot have sent.
    """
    return CorsPolicy(
        allow_origin_string_match=[StringMatcher(exact=origin) for origin in origins],
        allow_methods=_METHODS,
        allow_headers=_SENT,
        expose_headers=_READ,
        max_age=str(_PREFLIGHT_SECONDS),
        # No backend knows more of it: a page of another origin is answered without the headers that would let it in.
        forward_not_matching_preflights=False,
    )
