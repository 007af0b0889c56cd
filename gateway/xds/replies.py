"""Shape of what Envoy answers by itself: one JSON shape on REST, status and reason on gRPC."""

from collections.abc import Iterable, Iterator
from typing import Any as Json

from envoy_data_plane.envoy.config.accesslog.v3 import AccessLogFilter
from envoy_data_plane.envoy.config.core.v3 import (
    DataSource,
    HeaderValue,
    HeaderValueOption,
    HeaderValueOptionHeaderAppendAction,
    SubstitutionFormatString,
)
from envoy_data_plane.envoy.extensions.filters.network.http_connection_manager.v3 import (
    LocalReplyConfig,
    ResponseMapper,
)
from envoy_data_plane.google.protobuf import Struct
from soma.errors.v1 import reasons

from gateway.edge.openai.paths import UNKNOWN_URL, contract_paths, not_served_paths, openai_paths
from gateway.xds.failures import BY_HTTP_STATUS, DOMAIN, FAILURES, UNKNOWN_SERVICE, Failure
from gateway.xds.matches import (
    REFUSED,
    bad_path,
    both,
    from_grpc,
    from_rest,
    has_status,
    means,
    on_paths,
    says,
    without_id,
)
from gateway.xds.owners import METADATA, OWNER

_ERROR_INFO = "type.googleapis.com/google.rpc.ErrorInfo"
# Envoy itself finds no words for some of these.
_NO_HTTP = "not valid HTTP/1.1 or HTTP/2, or a path or host that cannot be"
_BAD_REQUEST = "type.googleapis.com/google.rpc.BadRequest"
_METHOD, _PATH = "%REQ(:METHOD)%", "%PATH(NQ:PATH)%"
_NOT_SERVED = f"{_METHOD} {_PATH} is of a part of OpenAI's API that is not served here."


def local_replies(templates: Iterable[str]) -> LocalReplyConfig:
    """Mappers in order: OpenAI's paths, refused bodies, known failures for REST and gRPC, then REST by status.

    What none of them takes stays as Envoy says it. `templates` are the paths of the contracts.
    """
    return LocalReplyConfig(mappers=[*_to_openai(contract_paths(templates)), *_refused(), *_mappers()])


def _to_openai(contracts: str) -> Iterator[ResponseMapper]:
    """Failures on paths whose clients know OpenAI's errors and no others."""
    openai = on_paths(openai_paths(), but=contracts)
    unknown = UNKNOWN_URL.format(method=_METHOD, path=_PATH)
    paths = {_NOT_SERVED: on_paths(not_served_paths(), but=contracts), unknown: openai}
    for text, asked in paths.items():
        body = _openai(404, text, reasons.UNKNOWN_URL)
        yield ResponseMapper(filter=both(has_status(404), asked), body_format_override=_json(body))
    for failure in FAILURES:
        text = failure.text(f"%METADATA(ROUTE:{METADATA}:{OWNER})%")
        yield ResponseMapper(
            filter=both(means(failure), openai),
            status_code=failure.http,
            headers_to_add=_retry_after(failure),
            body_format_override=_json(_openai(failure.http, text, failure.reason)),
        )
    no_http = _json(_openai(400, _NO_HTTP, reasons.BAD_REQUEST))
    for refused, id_header in _no_requests():
        yield ResponseMapper(filter=both(refused, openai), headers_to_add=[id_header], body_format_override=no_http)
    for http, reason in BY_HTTP_STATUS.items():
        body = _openai(http, "%LOCAL_REPLY_BODY%", reason)
        yield ResponseMapper(filter=both(has_status(http), openai), body_format_override=_json(body))


def _no_requests() -> tuple[tuple[AccessLogFilter, HeaderValueOption], ...]:
    """What Envoy finds no words for, and the id it is answered with."""
    return (both(has_status(400), without_id()), _NEW_ID), (bad_path(), _SAME_ID)


def _openai(http: int, message: str, reason: str) -> dict[str, Json]:
    kind = "server_error" if http >= 500 else "requests" if http == 429 else "invalid_request_error"
    return {"error": {"message": message, "type": kind, "param": None, "code": reason.lower()}}


def _refused() -> Iterator[ResponseMapper]:
    """What the body check found: most of it in a field."""
    message, reason = "%LOCAL_REPLY_BODY%", f"%DYNAMIC_METADATA({REFUSED}:reason)%"
    for http in (400, 415):
        plain = _error(http, "INVALID_ARGUMENT", message, reason)
        violation = {"field": f"%DYNAMIC_METADATA({REFUSED}:field)%", "description": message}
        named = _error(http, "INVALID_ARGUMENT", message, reason)
        named["error"]["details"].append({"@type": _BAD_REQUEST, "field_violations": [violation]})
        for key, body in (("field", named), ("reason", plain)):
            yield ResponseMapper(filter=both(has_status(http), says(key)), body_format_override=_json(body))


def _mappers() -> Iterator[ResponseMapper]:
    # Before the failures, one of which is a cluster nobody has.
    not_found = _json(_stated(reasons.NO_SUCH_PATH, "no such path"))
    yield ResponseMapper(filter=both(has_status(404), from_rest()), body_format_override=not_found)
    yield _grpc(UNKNOWN_SERVICE)
    for failure in FAILURES:
        yield _rest(failure)
        yield _grpc(failure)
    no_http = _json(_stated(reasons.BAD_REQUEST, _NO_HTTP))
    for refused, id_header in _no_requests():
        yield ResponseMapper(filter=refused, headers_to_add=[id_header], body_format_override=no_http)
    for http, reason in BY_HTTP_STATUS.items():
        yield ResponseMapper(
            filter=both(has_status(http), from_rest()),
            body_format_override=_json(_stated(reason, "%LOCAL_REPLY_BODY%")),
        )


def _rest(failure: Failure) -> ResponseMapper:
    owner = f"%METADATA(ROUTE:{METADATA}:{OWNER})%"
    metadata = {"service": owner} if failure.owned else None
    error = _stated(failure.reason, failure.text(owner), metadata)
    return ResponseMapper(
        filter=both(means(failure), from_rest()),
        status_code=failure.http,
        headers_to_add=_retry_after(failure),
        body_format_override=_json(error),
    )


def _grpc(failure: Failure) -> ResponseMapper:
    text = failure.text(f"%METADATA(ROUTE:{METADATA}:{OWNER})%")
    # A bin header cannot be computed by Envoy: each route carries the ones it may need, ready-made.
    details = f"%METADATA(ROUTE:{METADATA}:{failure.reason})%" if failure.owned else failure.details_bin("")
    return ResponseMapper(
        filter=both(means(failure), from_grpc()),
        headers_to_add=[
            _header("grpc-status", str(failure.code)),
            _header("grpc-status-details-bin", details),
            *_retry_after(failure),
        ],
        body_format_override=SubstitutionFormatString(text_format_source=DataSource(inline_string=text)),
    )


def _stated(reason: str, message: str, metadata: dict[str, str] | None = None) -> dict[str, Json]:
    """An error with a reason the contracts declare, and its statuses."""
    declared = reasons.DECLARED[reason]
    return _error(declared.http, declared.status, message, reason, metadata)


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


# For what was refused before it was given one.
_NEW_ID = _header("x-request-id", "%UNIQUE_ID%")
_SAME_ID = _header("x-request-id", "%REQ(X-REQUEST-ID)%")
