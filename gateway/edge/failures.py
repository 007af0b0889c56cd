"""Errors of the mesh as OpenAI's API states them: a status, an `error` body, and when to come back."""

import math
from dataclasses import dataclass

import orjson

from services.mesh.errors import Code, MeshError

STATUSES = {
    Code.CANCELLED: 499,
    Code.UNKNOWN: 500,
    Code.INVALID_ARGUMENT: 400,
    Code.DEADLINE_EXCEEDED: 504,
    Code.NOT_FOUND: 404,
    Code.ALREADY_EXISTS: 409,
    Code.PERMISSION_DENIED: 403,
    Code.RESOURCE_EXHAUSTED: 429,
    Code.FAILED_PRECONDITION: 400,
    Code.ABORTED: 409,
    Code.OUT_OF_RANGE: 400,
    Code.UNIMPLEMENTED: 501,
    Code.INTERNAL: 500,
    Code.UNAVAILABLE: 503,
    Code.DATA_LOSS: 500,
    Code.UNAUTHENTICATED: 401,
}
# What HTTP says more precisely than a canonical code does.
REASON_STATUSES = {
    "BODY_TOO_LARGE": 413,
    "METHOD_NOT_SUPPORTED": 405,
    "UNSUPPORTED_ENCODING": 415,
    "UPGRADE_REQUIRED": 426,
}
# Codes OpenAI's clients look for, whatever the reason was.
STATUS_CODES = {401: "invalid_api_key", 429: "rate_limit_exceeded"}
TYPES = {403: "permission_error", 429: "requests", 499: "request_cancelled"}
# Reasons that add nothing to the status.
PLAIN_REASONS = frozenset({"INVALID_ARGUMENT", "INTERNAL", "PAGE_TOKEN_INVALID", "UNKNOWN"})
# Statuses that say "later": without a time of the mesh's own, this many seconds.
RETRY_AFTER_SECONDS = {429: 1, 503: 1}
# OpenAI's clients repeat what failed with 409, 429 or 5xx, unless they are told that it would be of no use.
FINAL_STATUSES = frozenset({501})
# A disk stays full until somebody makes room: a turn that was paid for would be paid for again.
FINAL_REASONS = frozenset({"OUTPUT_INVALID", "STORAGE_FULL"})
NO_RETRY = (b"x-should-retry", b"false")

# What OpenAI calls fields of the contracts; others have the same name in both.
NAMES = {"page_token": "after", "sampling.stop_sequences": "stop", "sampling.top_logprobs": "logprobs"}


def openai_name(field: str) -> str:
    """OpenAI's name of a field of a contract's request."""
    field = field.removeprefix("settings.")
    return NAMES.get(field) or field.removeprefix("sampling.")


@dataclass(frozen=True, slots=True)
class Failure:
    """An error as HTTP: `body` is the whole `{"error": …}` object."""

    status: int
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...]


def failure(error: MeshError) -> Failure:
    """State an error of the mesh in OpenAI's shape."""
    status = REASON_STATUSES.get(error.reason) or STATUSES[error.code]
    params = [openai_name(violation.field) for violation in error.facts.violations]
    reason = None if error.reason in PLAIN_REASONS else error.reason.lower()
    message = error.message
    if error.reason == "PARAMETER_NOT_SUPPORTED":
        reason = "unsupported_parameter"
        named = ", ".join(f"'{param}'" for param in params)
        plural, verb = ("s", "are") if len(params) > 1 else ("", "is")
        message = f"Unsupported parameter{plural}: {named} {verb} not supported with this model."
    body = {
        "error": {
            "message": message,
            "type": TYPES.get(status) or ("server_error" if status >= 500 else "invalid_request_error"),
            "param": params[0] if params else None,
            "code": STATUS_CODES.get(status) or reason,
        }
    }
    headers = _retry_after(status, error.facts.retry_after)
    if status in FINAL_STATUSES or error.reason in FINAL_REASONS:
        headers = (*headers, NO_RETRY)
    if status == 405:
        headers = ((b"allow", error.facts.metadata["allow"].encode()),)
    return Failure(status, orjson.dumps(body), headers)


def _retry_after(status: int, seconds: float | None) -> tuple[tuple[bytes, bytes], ...]:
    if seconds is None:
        seconds = RETRY_AFTER_SECONDS.get(status)
    if seconds is None:
        return ()
    return ((b"retry-after", b"%d" % max(1, math.ceil(seconds))),)
