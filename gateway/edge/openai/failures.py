"""Errors of the mesh in the form of OpenAI's API, with the parameter at fault and whether a retry can help."""

from dataclasses import replace
from typing import Any

import orjson
from soma.errors.v1 import reasons

from gateway.edge.error_response import ErrorResponse, declared, http_status, in_shape
from services.mesh.call.errors import Code, MeshError
from services.mesh.surfaces.error_shape import ErrorShape

ERRORS = ErrorShape(
    {"error": {"message": "{message}", "type": "{kind}", "param": "{field}", "code": "{code}"}},
    kinds={
        400: "invalid_request_error",
        403: "permission_error",
        429: "requests",
        499: "request_cancelled",
        500: "server_error",
    },
    # Codes that OpenAI's clients check; they are used for every reason with this status.
    codes={401: "invalid_api_key", 429: "rate_limit_exceeded"},
)
"""The shape of OpenAI's errors."""

# Reasons that say no more than the status.
PLAIN_REASONS = frozenset({reasons.INVALID_ARGUMENT, reasons.INTERNAL, reasons.PAGE_TOKEN_INVALID, Code.UNKNOWN.name})
# OpenAI's clients repeat a request that failed with these statuses or 5xx, unless the answer forbids it. A repeated
# turn would be paid for twice.
REPEATED_STATUSES = frozenset({408, 409, 429})
# Statuses of requests that fail again when they are repeated, whatever the reason is.
FINAL_STATUSES = frozenset({501})
NO_RETRY = (b"x-should-retry", b"false")

# OpenAI's names of fields of the contracts, if they differ.
NAMES = {
    "page_token": "after",
    "tokens": "input",
    "sampling.stop_sequences": "stop",
    "sampling.top_logprobs": "logprobs",
    "options.reasoning.effort": "reasoning_effort",
    "inputs": "input",
    "audio": "file",
    "format": "response_format",
    "options.count": "n",
    "options.detail": "response_format",
    "options.timestamps": "timestamp_granularities",
    "options.urls": "response_format",
}


def openai_name(field: str) -> str:
    """OpenAI's name for a field of a request of the contracts."""
    if field in NAMES:
        return NAMES[field]
    field = field.removeprefix("settings.").removeprefix("options.").removeprefix("provider_params.")
    return NAMES.get(field) or field.removeprefix("sampling.").removeprefix("completion.")


def error_response(error: MeshError, request_id: str = "") -> ErrorResponse:
    """Make the answer to an error in OpenAI's shape, which has no id of the request."""
    params = [openai_name(violation.field) for violation in error.facts.violations]
    reason = "" if error.reason in PLAIN_REASONS else error.reason
    message = error.message
    if error.reason == reasons.PARAMETER_NOT_SUPPORTED:
        reason = reasons.UNSUPPORTED_PARAMETER
        named = ", ".join(f"'{param}'" for param in params)
        plural, verb = ("s", "are") if len(params) > 1 else ("", "is")
        message = f"Unsupported parameter{plural}: {named} {verb} not supported with this model."
    failed = in_shape(error, ERRORS, reason=reason, message=message, field=params[0] if params else None)
    return replace(failed, headers=(*failed.headers, NO_RETRY)) if _final(error) else failed


def error_object(error: MeshError) -> dict[str, Any]:
    """The member `error` of the answer to an error: its type, code, message and parameter."""
    told: dict[str, Any] = orjson.loads(error_response(error).body)["error"]
    return told


def _final(error: MeshError) -> bool:
    """Whether the answer tells the client not to repeat the request."""
    said, status = declared(error), http_status(error)
    if status in FINAL_STATUSES:
        return True
    return said is not None and said.retry != "LATER" and (status >= 500 or status in REPEATED_STATUSES)
