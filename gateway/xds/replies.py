"""Shape of what Envoy answers by itself: one JSON shape on REST, status and reason on gRPC."""

from collections.abc import Iterator
from typing import Any as Json

from envoy_data_plane.envoy.config.accesslog.v3 import (
    AccessLogFilter,
    AndFilter,
    ComparisonFilter,
    ComparisonFilterOp,
    HeaderFilter,
    OrFilter,
    ResponseFlagFilter,
    StatusCodeFilter,
)
from envoy_data_plane.envoy.config.core.v3 import (
    DataSource,
    HeaderValue,
    HeaderValueOption,
    HeaderValueOptionHeaderAppendAction,
    RuntimeUInt32,
    SubstitutionFormatString,
)
from envoy_data_plane.envoy.config.route.v3 import HeaderMatcher
from envoy_data_plane.envoy.extensions.filters.network.http_connection_manager.v3 import (
    LocalReplyConfig,
    ResponseMapper,
)
from envoy_data_plane.envoy.type.matcher.v3 import StringMatcher
from envoy_data_plane.google.protobuf import Struct
from google.rpc.code_pb2 import Code

from gateway.xds.failures import BY_HTTP_STATUS, DOMAIN, FAILURES, UNKNOWN_SERVICE, Failure
from gateway.xds.routes import METADATA, OWNER

_ERROR_INFO = "type.googleapis.com/google.rpc.ErrorInfo"


def local_replies() -> LocalReplyConfig:
    """Mappers in order: known failures for REST and for gRPC, then REST by status; the rest stays Envoy's own."""
    return LocalReplyConfig(mappers=list(_mappers()))


def _mappers() -> Iterator[ResponseMapper]:
    for failure in FAILURES:
        yield _rest(failure)
        yield _grpc(failure)
    yield _grpc(UNKNOWN_SERVICE)
    for http, (status, reason) in BY_HTTP_STATUS.items():
        yield ResponseMapper(
            filter=_both(_has_status(http), _from_rest()),
            body_format_override=_json(_error(http, status, "%LOCAL_REPLY_BODY%", reason)),
        )


def _rest(failure: Failure) -> ResponseMapper:
    owner = f"%METADATA(ROUTE:{METADATA}:{OWNER})%"
    error = _error(failure.http, Code.Name(failure.code), failure.text(owner), failure.reason, {"service": owner})
    return ResponseMapper(
        filter=_both(_means(failure), _from_rest()),
        status_code=failure.http,
        headers_to_add=_retry_after(failure),
        body_format_override=_json(error),
    )


def _grpc(failure: Failure) -> ResponseMapper:
    text = failure.text(f"%METADATA(ROUTE:{METADATA}:{OWNER})%")
    return ResponseMapper(
        filter=_both(_means(failure), _from_grpc()),
        headers_to_add=[
            _header("grpc-status", str(failure.code)),
            # A bin header cannot be computed by Envoy: each route carries the ones it may need, ready-made.
            _header("grpc-status-details-bin", f"%METADATA(ROUTE:{METADATA}:{failure.reason})%"),
            *_retry_after(failure),
        ],
        body_format_override=SubstitutionFormatString(text_format_source=DataSource(inline_string=text)),
    )


def _error(
    http: int, status: str, message: str, reason: str, metadata: dict[str, str] | None = None
) -> dict[str, Json]:
    info = {"@type": _ERROR_INFO, "reason": reason, "domain": DOMAIN, "metadata": metadata or {}}
    return {"error": {"code": http, "status": status, "message": message, "details": [info]}}


def _json(body: dict[str, Json]) -> SubstitutionFormatString:
    return SubstitutionFormatString(json_format=Struct.from_dict(body), content_type="application/json")


def _retry_after(failure: Failure) -> list[HeaderValueOption]:
    seconds = failure.retry_after_seconds
    return [] if seconds is None else [_header("retry-after", str(seconds))]


def _header(key: str, value: str) -> HeaderValueOption:
    return HeaderValueOption(
        header=HeaderValue(key=key, value=value),
        append_action=HeaderValueOptionHeaderAppendAction.OVERWRITE_IF_EXISTS_OR_ADD,
    )


def _means(failure: Failure) -> AccessLogFilter:
    signs = [_has_status(status) for status in failure.statuses]
    if failure.flags:
        signs.append(AccessLogFilter(response_flag_filter=ResponseFlagFilter(flags=list(failure.flags))))
    return _any(signs)


def _has_status(http: int) -> AccessLogFilter:
    value = RuntimeUInt32(default_value=http, runtime_key="gateway.local_reply_status")
    return AccessLogFilter(
        status_code_filter=StatusCodeFilter(comparison=ComparisonFilter(op=ComparisonFilterOp.EQ, value=value))
    )


def _from_rest() -> AccessLogFilter:
    """A REST client: its request was transcoded, or never was gRPC."""
    return _any([_transcoded(present=True), _grpc_content(present=False)])


def _from_grpc() -> AccessLogFilter:
    """A gRPC client, native or web, which would show a JSON body as the text of its status."""
    return _both(_transcoded(present=False), _grpc_content(present=True))


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


def _both(first: AccessLogFilter, second: AccessLogFilter) -> AccessLogFilter:
    return AccessLogFilter(and_filter=AndFilter(filters=[first, second]))


def _any(filters: list[AccessLogFilter]) -> AccessLogFilter:
    # Envoy's `or` needs two.
    return filters[0] if len(filters) == 1 else AccessLogFilter(or_filter=OrFilter(filters=filters))
