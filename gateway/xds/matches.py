"""Conditions on Envoy's own answers: the kind of failure, the kind of client, and the result of the body check."""

from envoy_data_plane.envoy.config.accesslog.v3 import (
    AccessLogFilter,
    AndFilter,
    ComparisonFilter,
    ComparisonFilterOp,
    ExtensionFilter,
    HeaderFilter,
    MetadataFilter,
    OrFilter,
    ResponseFlagFilter,
    StatusCodeFilter,
)
from envoy_data_plane.envoy.config.core.v3 import RuntimeUInt32
from envoy_data_plane.envoy.config.route.v3 import HeaderMatcher
from envoy_data_plane.envoy.extensions.access_loggers.filters.cel.v3 import ExpressionFilter
from envoy_data_plane.envoy.type.matcher.v3 import (
    MetadataMatcher,
    MetadataMatcherPathSegment,
    RegexMatcher,
    StringMatcher,
    ValueMatcher,
)
from envoy_data_plane.google.protobuf import Any

from gateway.xds.failures import Failure

REFUSED = "soma.refused"
"""The dynamic metadata in which the body check stores why it refused."""


def body_check_stored(key: str) -> AccessLogFilter:
    """The body check stored this key when it refused."""
    present = MetadataMatcher(
        filter=REFUSED, path=[MetadataMatcherPathSegment(key=key)], value=ValueMatcher(present_match=True)
    )
    return AccessLogFilter(metadata_filter=MetadataFilter(matcher=present, match_if_key_not_found=False))


def is_failure(failure: Failure) -> AccessLogFilter:
    """The answer has one of the signs of this failure."""
    signs = [has_status(status) for status in failure.statuses]
    signs += [_has_details(details) for details in failure.details]
    if failure.flags:
        signs.append(AccessLogFilter(response_flag_filter=ResponseFlagFilter(flags=list(failure.flags))))
    return any_of(signs)


def has_status(http: int) -> AccessLogFilter:
    """The answer has this HTTP status."""
    value = RuntimeUInt32(default_value=http, runtime_key="gateway.local_reply_status")
    return AccessLogFilter(
        status_code_filter=StatusCodeFilter(comparison=ComparisonFilter(op=ComparisonFilterOp.EQ, value=value))
    )


def from_rest() -> AccessLogFilter:
    """The client speaks REST: its request was transcoded, or was not gRPC."""
    return any_of([_transcoded(present=True), _grpc_content(present=False)])


def from_grpc() -> AccessLogFilter:
    """The client speaks gRPC or grpc-web, and would show a JSON body as the message of the status."""
    return both(_transcoded(present=False), _grpc_content(present=True))


def on_paths(regex: str, but: str = "") -> AccessLogFilter:
    """The request is not gRPC, and its path matches `regex` and not `but`; an empty `but` matches nothing."""
    asked = both(_path(regex, matches=True), _grpc_content(present=False))
    return both(asked, _path(but, matches=False)) if but else asked


def _path(regex: str, *, matches: bool) -> AccessLogFilter:
    form = StringMatcher(safe_regex=RegexMatcher(regex=regex))
    path = HeaderMatcher(name=":path", string_match=form, invert_match=not matches)
    return AccessLogFilter(header_filter=HeaderFilter(header=path))


def without_id() -> AccessLogFilter:
    """The request has no id: it was refused before it got one, because its head was not valid."""
    return AccessLogFilter(header_filter=HeaderFilter(header=HeaderMatcher(name="x-request-id", present_match=False)))


def bad_path() -> AccessLogFilter:
    """The path was not valid; the request may have an id from the client."""
    return _has_details("path_normalization_failed")


def _has_details(details: str) -> AccessLogFilter:
    expression = ExpressionFilter(expression=f"response.code_details == '{details}'")
    return AccessLogFilter(
        extension_filter=ExtensionFilter(
            name="envoy.access_loggers.extension_filters.cel", typed_config=Any.pack(expression)
        )
    )


def _transcoded(*, present: bool) -> AccessLogFilter:
    return AccessLogFilter(
        header_filter=HeaderFilter(header=HeaderMatcher(name="x-envoy-original-path", present_match=present))
    )


def _grpc_content(*, present: bool) -> AccessLogFilter:
    matcher = HeaderMatcher(
        name="content-type",
        string_match=StringMatcher(prefix="application/grpc"),
        invert_match=not present,
        treat_missing_header_as_empty=True,
    )
    return AccessLogFilter(header_filter=HeaderFilter(header=matcher))


def both(first: AccessLogFilter, second: AccessLogFilter) -> AccessLogFilter:
    """Both conditions hold."""
    return AccessLogFilter(and_filter=AndFilter(filters=[first, second]))


def any_of(filters: list[AccessLogFilter]) -> AccessLogFilter:
    """At least one condition holds."""
    # Envoy's `or` needs at least two.
    return filters[0] if len(filters) == 1 else AccessLogFilter(or_filter=OrFilter(filters=filters))
