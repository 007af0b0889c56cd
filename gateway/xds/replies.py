"""Shape of what Envoy answers by itself: that of the surface, one JSON shape on REST, status and reason on gRPC."""

from collections.abc import Iterable, Iterator, Sequence
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
from soma.mesh.v1 import surface_pb2 as pb

from gateway.xds.claims import Claim, claims
from gateway.xds.failures import BY_HTTP_STATUS, DOMAIN, FAILURES, UNKNOWN_SERVICE, Failure
from gateway.xds.matches import (
    REFUSED,
    any_of,
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
from services.mesh.surfaces.error_shape import read

_ERROR_INFO = "type.googleapis.com/google.rpc.ErrorInfo"
# Envoy itself finds no words for some of these.
_NO_HTTP = "not valid HTTP/1.1 or HTTP/2, or a path or host that cannot be"
_BAD_REQUEST = "type.googleapis.com/google.rpc.BadRequest"
_METHOD, _PATH = "%REQ(:METHOD)%", "%PATH(NQ:PATH)%"
_OWNER = f"%METADATA(ROUTE:{METADATA}:{OWNER})%"


def local_replies(surfaces: Sequence[pb.Surface], contracts: Iterable[str]) -> LocalReplyConfig:
    """Mappers in order: paths of surfaces, refused bodies, known failures for REST and gRPC, then REST by status.

    What none of them takes stays as Envoy says it. `contracts` are the templates of the contracts' paths.
    """
    claimed = [mapper for claim in claims(surfaces, contracts) for mapper in _of_surface(claim)]
    return LocalReplyConfig(mappers=[*claimed, *_refused(), *_mappers()])


def _of_surface(claim: Claim) -> Iterator[ResponseMapper]:
    """Failures on paths whose clients know a surface's errors and no others."""
    shape = read(claim.surface.errors)
    own = on_paths(claim.own)
    asked = any_of([own, *(on_paths(space, but=claim.others) for space in claim.spaces)])

    def mapper(
        filter: AccessLogFilter, reason: str, text: str, http: int, headers: Iterable[HeaderValueOption] = ()
    ) -> ResponseMapper:
        declared = reasons.DECLARED.get(reason)
        stated = shape.stated(
            http,
            canonical=declared.status if declared else "UNKNOWN",
            reason=reason,
            message=text,
            request_id="%REQ(X-REQUEST-ID)%",
            literal=_escaped,
        )
        return ResponseMapper(
            filter=filter,
            status_code=stated.status,
            headers_to_add=[*headers, *(_header(name, value) for name, value in stated.headers.items())],
            body_format_override=_json(stated.body),
        )

    for space, paths in zip(claim.surface.spaces, claim.spaces, strict=True):
        text = _escaped(space.message).replace("{method}", _METHOD).replace("{path}", _PATH)
        yield mapper(both(has_status(404), on_paths(paths, but=claim.others)), space.reason, text, 404)
    yield mapper(both(has_status(404), own), reasons.NO_SUCH_PATH, "no such path", 404)
    for failure in FAILURES:
        text = failure.text(_OWNER)
        yield mapper(both(means(failure), asked), failure.reason, text, failure.http, _retry_after(failure))
    for refused, id_header in _no_requests():
        yield mapper(both(refused, asked), reasons.BAD_REQUEST, _NO_HTTP, 400, [id_header])
    for http, reason in BY_HTTP_STATUS.items():
        yield mapper(both(has_status(http), asked), reason, "%LOCAL_REPLY_BODY%", http)


def _escaped(text: str) -> str:
    """Text in which nothing is a command of Envoy's."""
    return text.replace("%", "%%")


def _no_requests() -> tuple[tuple[AccessLogFilter, HeaderValueOption], ...]:
    """What Envoy finds no words for, and the id it is answered with."""
    return (both(has_status(400), without_id()), _NEW_ID), (bad_path(), _SAME_ID)


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
    metadata = {"service": _OWNER} if failure.owned else None
    error = _stated(failure.reason, failure.text(_OWNER), metadata)
    return ResponseMapper(
        filter=both(means(failure), from_rest()),
        status_code=failure.http,
        headers_to_add=_retry_after(failure),
        body_format_override=_json(error),
    )


def _grpc(failure: Failure) -> ResponseMapper:
    text = failure.text(_OWNER)
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
