"""Errors of the mesh as OpenAI's API states them: a status, an `error` body, and when to come back."""

import math
from dataclasses import dataclass

import orjson
from soma.errors.v1 import reasons

from services.mesh.call.errors import Code, MeshError

# Codes OpenAI's clients look for, whatever the reason was.
STATUS_CODES = {401: "invalid_api_key", 429: "rate_limit_exceeded"}
TYPES = {403: "permission_error", 429: "requests", 499: "request_cancelled"}
# Reasons that add nothing to the status.
PLAIN_REASONS = frozenset({reasons.INVALID_ARGUMENT, reasons.INTERNAL, reasons.PAGE_TOKEN_INVALID, Code.UNKNOWN.name})
# Statuses that say "later": without a time of the mesh's own, this many seconds.
RETRY_AFTER_SECONDS = {429: 1, 503: 1}
# OpenAI's clients repeat what failed with these or 5xx, unless they are told that it would be of no use: a turn that
# was paid for would be paid for again.
REPEATED_STATUSES = frozenset({408, 409, 429})
# Of no use to repeat, whatever the reason was.
FINAL_STATUSES = frozenset({501})
NO_RETRY = (b"x-should-retry", b"false")

# What OpenAI calls fields of the contracts; others have the same name in both.
NAMES = {
    "page_token": "after",
    "tokens": "input",
    "sampling.stop_sequences": "stop",
    "sampling.top_logprobs": "logprobs",
}


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
    declared = _declared(error)
    status = declared.http if declared else reasons.HTTP_STATUSES[error.code.name]
    params = [openai_name(violation.field) for violation in error.facts.violations]
    reason = None if error.reason in PLAIN_REASONS else error.reason.lower()
    message = error.message
    if error.reason == reasons.PARAMETER_NOT_SUPPORTED:
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
    final = declared is not None and declared.retry != "LATER" and (status >= 500 or status in REPEATED_STATUSES)
    if final or status in FINAL_STATUSES:
        headers = (*headers, NO_RETRY)
    if status == 405:
        headers = ((b"allow", error.facts.metadata["allow"].encode()),)
    return Failure(status, orjson.dumps(body), headers)


def _declared(error: MeshError) -> reasons.Declared | None:
    """What the contracts say of the reason, if they know it, with the status it came with."""
    declared = reasons.DECLARED.get(error.reason)
    return declared if declared and declared.status == error.code.name else None


def _retry_after(status: int, seconds: float | None) -> tuple[tuple[bytes, bytes], ...]:
    if seconds is None:
        seconds = RETRY_AFTER_SECONDS.get(status)
    if seconds is None:
        return ()
    return ((b"retry-after", b"%d" % max(1, math.ceil(seconds))),)
