"""Errors of the mesh in the form of Anthropic's API (https://platform.claude.com/docs/en/api/errors)."""

from dataclasses import replace

from soma.errors.v1 import reasons

from gateway.edge.error_response import ErrorResponse, declared, in_shape
from services.mesh.call.errors import MeshError
from services.mesh.surfaces.error_shape import ErrorShape

ERRORS = ErrorShape(
    {"type": "error", "error": {"type": "{kind}", "message": "{message}"}, "request_id": "{request_id}"},
    kinds={
        400: "invalid_request_error",
        401: "authentication_error",
        402: "billing_error",
        403: "permission_error",
        404: "not_found_error",
        413: "request_too_large",
        429: "rate_limit_error",
        500: "api_error",
        504: "timeout_error",
        529: "overloaded_error",
    },
    # Anthropic's API has one status for a server that cannot answer now.
    statuses={503: 529},
    headers={"request-id": "{request_id}"},
)
"""The shape of Anthropic's errors."""

# Anthropic's clients repeat a request that failed with these statuses or 5xx, unless the answer forbids it. A repeated
# turn would be paid for twice.
_REPEATED = frozenset({408, 409, 429})
_NO_RETRY = (b"x-should-retry", b"false")
# Anthropic's names of fields of the contracts, if they differ.
_NAMES = {
    "reasoning.effort": "output_config.effort",
    "reasoning.budget_tokens": "thinking.budget_tokens",
    "response_format": "output_config.format",
}
_PREFIXES = ("options.", "native.params.", "provider_params.", "sampling.")
_TYPED_TOOLS = "tools of Anthropic's own types are not supported by the provider of this model"


def error_response(error: MeshError, request_id: str) -> ErrorResponse:
    """Make the answer to an error in Anthropic's shape."""
    message = error.message
    if error.reason == reasons.PARAMETER_NOT_SUPPORTED:
        names = [_name(violation.field) for violation in error.facts.violations]
        message = "; ".join(
            f"{name}: {_TYPED_TOOLS if name == 'tools' else 'not supported by the provider of this model'}"
            for name in names
        )
    failed = in_shape(error, ERRORS, reason=error.reason, message=message, field=None, request_id=request_id)
    # The reply sends the id of the request with every answer.
    headers = tuple(header for header in failed.headers if header[0] != b"request-id")
    return replace(failed, headers=(*headers, _NO_RETRY) if _final(error, failed.status) else headers)


def _name(field: str) -> str:
    for prefix in _PREFIXES:
        field = field.removeprefix(prefix)
    return _NAMES.get(field, field)


def _final(error: MeshError, status: int) -> bool:
    """Whether the answer tells the client not to repeat the request."""
    said = declared(error)
    if status == 501:
        return True
    return said is not None and said.retry != "LATER" and (status >= 500 or status in _REPEATED)
