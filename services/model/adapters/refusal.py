"""Makes typed errors from a provider's refusals: from an HTTP status, or from an error inside a stream."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import structlog
from soma.errors.v1 import reasons

from services.mesh.call import errors
from services.model.adapters import rate_limits
from services.model.adapters.surrogates import read_json, repaired
from services.model.vendor import Limit

_log = structlog.get_logger(__name__)

_LONGEST_MESSAGE = 2000
_KEY_ADVICE = "check its API key"
# The HTTP status of an error inside an answer with status 200, by parts of its type or code in lower case. The first
# match counts.
_STATUSES = (
    ("rate_limit", 429),
    ("ratelimit", 429),
    ("insufficient_quota", 429),
    ("resource_exhausted", 429),
    ("overloaded", 529),
    ("timeout", 504),
    ("authentication", 401),
    ("invalid_api_key", 401),
    ("billing", 402),
    ("permission", 403),
    ("not_found", 404),
    ("too_large", 413),
    ("invalid_request", 400),
    ("bad_request", 400),
    ("badrequest", 400),
    ("context_length", 400),
)
_LONGEST_WORD = 64
# Reasons that the part `llm` gives as the type of an error.
_OWN = frozenset({reasons.MODEL_TOO_LARGE, reasons.MODEL_FILE_INVALID})
_MOST_MEMBERS = 8


def refusal(
    provider: str,
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    key_advice: str = _KEY_ADVICE,
    limits: Sequence[Limit] = (),
) -> errors.MeshError:
    """The error for an answer with another status than 200; `limits` describes the vendor's headers of rate limits."""
    message = message_of(body)
    if (own := _own(provider, body, message)) is not None:
        return own
    if body and not message:
        message = described(body)
        _log.warning("provider_error_unreadable", provider=provider, status=status, body=message)
    delay = retry_after(headers)
    if delay is None:
        delay = rate_limits.retry_delay(body)
    if delay is None:
        delay = rate_limits.renewed(headers, limits)
    return typed(provider, status, message, delay, key_advice)


def reported_error(provider: str, error: Any) -> errors.MeshError:
    """The error that a provider reports inside an answer with status 200."""
    if isinstance(error, dict) and error.get("type") in _OWN:
        return _refused(provider, error["type"], _words(error))
    return typed(provider, _status(error), _words(error))


def _own(provider: str, body: bytes, message: str) -> errors.MeshError | None:
    """The error of the part `llm` if its type is a reason of the mesh."""
    if not any(reason.encode() in body for reason in _OWN):
        return None
    try:
        reason = read_json(body)["error"]["type"]
    except (ValueError, KeyError, TypeError):
        return None
    return _refused(provider, reason, message) if reason in _OWN else None


def _refused(provider: str, reason: str, message: str) -> errors.MeshError:
    return errors.FailedPrecondition(message, reason=reason, metadata={"provider": provider})


def ended_badly(provider: str, reason: str) -> errors.Unavailable:
    """The error for an answer that ended with an unknown finish reason."""
    return unavailable(provider, f"{provider} ended its answer with `{repaired(reason)[:_LONGEST_WORD]}`")


def unreadable(provider: str, what: str, data: bytes) -> errors.Unavailable:
    """The error for data `what` that cannot be read; it is logged too."""
    shape = described(data)
    _log.warning("provider_answer_unreadable", provider=provider, what=what, shape=shape)
    return protocol_error(provider, f"{what} has another shape: it is {shape}")


def typed(
    provider: str, status: int, message: str, delay: float | None = None, key_advice: str = _KEY_ADVICE
) -> errors.MeshError:
    """The error for an HTTP status; `key_advice` says what to do about a refused key.

    A provider's message about a credential is not passed on, because it may contain the credential.
    """
    facts = {"provider": provider}
    text = f"{provider} answered {status}" + (f": {message}" if message else "")
    match status:
        case 401 | 402 | 403:
            return errors.FailedPrecondition(
                f"{provider} refused the configured credential (HTTP {status}); {key_advice}",
                reason=reasons.PROVIDER_CREDENTIAL_REFUSED,
                metadata=facts,
            )
        case 404:
            return errors.NotFound(text, reason=reasons.MODEL_NOT_FOUND, metadata=facts)
        case 429:
            return errors.ResourceExhausted(
                text, reason=reasons.PROVIDER_RATE_LIMITED, metadata=facts, retry_after=delay
            )
        case 408 | 504:
            return errors.Unavailable(text, reason=reasons.PROVIDER_TIMEOUT, metadata=facts, retry_after=delay)
        case 409 | 425:
            return unavailable(provider, text, delay)
        case _ if 400 <= status < 500:
            return errors.InvalidArgument(text, reason=reasons.PROVIDER_REFUSED_REQUEST, metadata=facts)
        case _ if status >= 500:
            return unavailable(provider, text, delay)
        case _:
            return protocol_error(provider, f"it answered {status}")


def unavailable(provider: str, message: str, delay: float | None = None) -> errors.Unavailable:
    """The error for a provider that cannot be reached or cannot answer now."""
    return errors.Unavailable(
        message, reason=reasons.PROVIDER_UNAVAILABLE, metadata={"provider": provider}, retry_after=delay
    )


def timed_out(provider: str, what: str, seconds: float) -> errors.Unavailable:
    """The error for a provider that sent nothing for too long."""
    return errors.Unavailable(
        f"{provider} {what} within {seconds:g} s", reason=reasons.PROVIDER_TIMEOUT, metadata={"provider": provider}
    )


def stream_cut(provider: str) -> errors.Unavailable:
    """The error for an answer that broke off."""
    return errors.Unavailable(
        f"{provider} ended its answer before it was complete",
        reason=reasons.PROVIDER_STREAM_CUT,
        metadata={"provider": provider},
    )


def protocol_error(provider: str, what: str) -> errors.Unavailable:
    """The error for an answer that does not follow the protocol."""
    return errors.Unavailable(
        f"{provider} does not speak the expected protocol: {what}",
        reason=reasons.PROVIDER_PROTOCOL_ERROR,
        metadata={"provider": provider},
    )


def message_of(body: bytes) -> str:
    """The message in an error body of a usual shape or of short text; empty when there is none."""
    try:
        found = read_json(body)
    except ValueError:
        text = body.decode("utf-8", "replace").strip()
        return text[:_LONGEST_MESSAGE] if text[:1] not in ("<", "{", "[") and text.isprintable() else ""
    return "" if isinstance(found, str | int | float) else _words(found)


def described(data: bytes) -> str:
    """The shape of unreadable data, without its content."""
    try:
        found = read_json(data)
    except ValueError:
        return f"{len(data)} bytes that are not JSON"
    if isinstance(found, dict):
        names = [ascii(name)[1:-1][:_LONGEST_WORD] for name in list(found)[:_MOST_MEMBERS]]
        return f"an object with {', '.join(names)}" if names else "an empty object"
    return "an array" if isinstance(found, list) else "a single value"


def _words(error: Any) -> str:
    """The message of an error: a text, a member of an object, FastAPI's `detail`, or the first of a list."""
    while True:
        if isinstance(error, list):
            error = error[0] if error else ""
        elif isinstance(error, dict):
            error = next((error[name] for name in ("error", "message", "msg", "detail") if error.get(name)), "")
        else:
            return repaired(error)[:_LONGEST_MESSAGE] if isinstance(error, str) else ""


def _status(error: Any) -> int:
    if not isinstance(error, dict):
        return 500
    for name in ("code", "status", "status_code"):
        value = error.get(name)
        if isinstance(value, str) and value.isascii() and value.isdigit():
            value = int(value)
        if isinstance(value, int) and 400 <= value < 600:
            return value
    text = f"{error.get('code')} {error.get('type')} {error.get('status')}".lower()
    return next((status for word, status in _STATUSES if word in text), 500)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """The seconds of `Retry-After` (RFC 9110, 10.2.3) or of OpenAI's `retry-after-ms`.

    Header names are in lower case.
    """
    try:
        if fine := headers.get("retry-after-ms"):
            return max(0.0, float(fine) / 1000)
        coarse = headers.get("retry-after", "")
        if not coarse:
            return None
        if coarse.strip().replace(".", "", 1).isdigit():
            return float(coarse)
        at = parsedate_to_datetime(coarse)
        return max(0.0, (at.astimezone(UTC) - datetime.now(UTC)).total_seconds())
    except (ValueError, OverflowError):
        return None
