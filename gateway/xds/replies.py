"""The shape of Envoy's own answers: the surface's on its paths, JSON on REST, status and reason on gRPC."""

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
    body_check_stored,
    both,
    from_grpc,
    from_rest,
    has_status,
    is_failure,
    on_paths,
    without_id,
)
from gateway.xds.owners import METADATA, OWNER
from services.mesh.surfaces.error_shape import read

_ERROR_INFO = "type.googleapis.com/google.rpc.ErrorInfo"
# Envoy's own text is empty for some of these requests.
_INVALID_HTTP = "not valid HTTP/1.1 or HTTP/2, or a path or host that cannot be"
_BAD_REQUEST = "type.googleapis.com/google.rpc.BadRequest"
_METHOD, _PATH = "%REQ(:METHOD)%", "%PATH(NQ:PATH)%"
_OWNER = f"%METADATA(ROUTE:{METADATA}:{OWNER})%"


def local_replies(surfaces: Sequence[pb.Surface], contracts: Iterable[str]) -> LocalReplyConfig:
    """Mappers in order: paths of surfaces, refused bodies, known failures for REST and gRPC, then REST by status.

    Any other answer stays as Envoy makes it. `contracts` are the path templates of the contracts.
    """
    claimed = [mapper for claim in claims(surfaces, contracts) for mapper in _of_surface(claim)]
    return LocalReplyConfig(mappers=[*claimed, *_refused(), *_mappers()])


def _of_surface(claim: Claim) -> Iterator[ResponseMapper]:
    """Mappers of failures on paths that belong to a surface, in the shape of the surface."""
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
        yield mapper(both(is_failure(failure), asked), failure.reason, text, failure.http, _retry_after(failure))
    for refused, id_header in _invalid_requests():
        yield mapper(both(refused, asked), reasons.BAD_REQUEST, _INVALID_HTTP, 400, [id_header])
    for http, reason in BY_HTTP_STATUS.items():
        yield mapper(both(has_status(http), asked), reason, "%LOCAL_REPLY_BODY%", http)


def _escaped(text: str) -> str:
    """The text with its percent signs doubled, because Envoy reads `%...%` as a command."""
    return text.replace("%", "%%")


def _invalid_requests() -> tuple[tuple[AccessLogFilter, HeaderValueOption], ...]:
    """Requests that are not valid HTTP, each with the request id of its answer."""
    return (both(has_status(400), without_id()), _NEW_ID), (bad_path(), _SAME_ID)


def _refused() -> Iterator[ResponseMapper]:
    """Mappers of what the body check refused; most refusals name a field."""
    message, reason = "%LOCAL_REPLY_BODY%", f"%DYNAMIC_METADATA({REFUSED}:reason)%"
    for http in (400, 415):
        plain = _error(http, "INVALID_ARGUMENT", message, reason)
        violation = {"field": f"%DYNAMIC_METADATA({REFUSED}:field)%", "description": message}
        named = _error(http, "INVALID_ARGUMENT", message, reason)
        named["error"]["details"].append({"@type": _BAD_REQUEST, "field_violations": [violation]})
        for key, body in (("field", named), ("reason", plain)):
            yield ResponseMapper(
                filter=both(has_status(http), body_check_stored(key)), body_format_override=_json(body)
            )


def _mappers() -> Iterator[ResponseMapper]:
    # Before the failures, because an unknown path goes to a cluster that does not exist, which is a failure too.
    not_found = _json(_declared_error(reasons.NO_SUCH_PATH, "no such path"))
    yield ResponseMapper(filter=both(has_status(404), from_rest()), body_format_override=not_found)
    yield _grpc(UNKNOWN_SERVICE)
    for failure in FAILURES:
        yield _rest(failure)
        yield _grpc(failure)
    invalid_http = _json(_declared_error(reasons.BAD_REQUEST, _INVALID_HTTP))
    for refused, id_header in _invalid_requests():
        yield ResponseMapper(filter=refused, headers_to_add=[id_header], body_format_override=invalid_http)
    for http, reason in BY_HTTP_STATUS.items():
        yield ResponseMapper(
            filter=both(has_status(http), from_rest()),
            body_format_override=_json(_declared_error(reason, "%LOCAL_REPLY_BODY%")),
        )


def _rest(failure: Failure) -> ResponseMapper:
    metadata = {"service": _OWNER} if failure.owned else None
    error = _declared_error(failure.reason, failure.text(_OWNER), metadata)
    return ResponseMapper(
        filter=both(is_failure(failure), from_rest()),
        status_code=failure.http,
        headers_to_add=_retry_after(failure),
        body_format_override=_json(error),
    )


def _grpc(failure: Failure) -> ResponseMapper:
    text = failure.text(_OWNER)
    # Envoy cannot compute a binary header, so each route has the encoded details in its metadata.
    details = f"%METADATA(ROUTE:{METADATA}:{failure.reason})%" if failure.owned else failure.details_bin("")
    return ResponseMapper(
        filter=both(is_failure(failure), from_grpc()),
        headers_to_add=[
            _header("grpc-status", str(failure.code)),
            _header("grpc-status-details-bin", details),
            *_retry_after(failure),
        ],
        body_format_override=SubstitutionFormatString(text_format_source=DataSource(inline_string=text)),
    )


def _declared_error(reason: str, message: str, metadata: dict[str, str] | None = None) -> dict[str, Json]:
    """An error with a declared reason; its statuses are those of the reason."""
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


# The id of an answer to a request that was refused before it got an id.
_NEW_ID = _header("x-request-id", "%UNIQUE_ID%")
_SAME_ID = _header("x-request-id", "%REQ(X-REQUEST-ID)%")
