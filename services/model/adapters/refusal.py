"""A provider's refusals as typed errors, by HTTP status or by what it says inside a stream."""

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import orjson
from soma.errors.v1 import reasons

from services.mesh import errors

_LONGEST_MESSAGE = 2000
_KEY_ADVICE = "check its API key"


def refusal(
    provider: str, status: int, headers: Mapping[str, str], body: bytes, key_advice: str = _KEY_ADVICE
) -> errors.MeshError:
    """The error for an answer that is not 200."""
    return typed(provider, status, message_of(body), retry_after(headers), key_advice)


def typed(
    provider: str, status: int, message: str, delay: float | None = None, key_advice: str = _KEY_ADVICE
) -> errors.MeshError:
    """The error for an HTTP status, wherever the provider put it; `key_advice` says what to do about a refused key.

    What a provider says about a credential is not passed on: it may quote it.
    """
    facts = {"provider": provider}
    said = f"{provider} answered {status}" + (f": {message}" if message else "")
    match status:
        case 401 | 402 | 403:
            return errors.FailedPrecondition(
                f"{provider} refused the configured credential (HTTP {status}); {key_advice}",
                reason=reasons.PROVIDER_CREDENTIAL_REFUSED,
                metadata=facts,
            )
        case 404:
            return errors.NotFound(said, reason=reasons.MODEL_NOT_FOUND, metadata=facts)
        case 429:
            return errors.ResourceExhausted(
                said, reason=reasons.PROVIDER_RATE_LIMITED, metadata=facts, retry_after=delay
            )
        case 408 | 504:
            return errors.Unavailable(said, reason=reasons.PROVIDER_TIMEOUT, metadata=facts, retry_after=delay)
        case 409 | 425:
            return unavailable(provider, said, delay)
        case _ if 400 <= status < 500:
            return errors.InvalidArgument(said, reason=reasons.PROVIDER_REFUSED_REQUEST, metadata=facts)
        case _ if status >= 500:
            return unavailable(provider, said, delay)
        case _:
            return protocol_error(provider, f"it answered {status}")


def unavailable(provider: str, message: str, delay: float | None = None) -> errors.Unavailable:
    """The provider is not there, or says that it cannot now."""
    return errors.Unavailable(
        message, reason=reasons.PROVIDER_UNAVAILABLE, metadata={"provider": provider}, retry_after=delay
    )


def timed_out(provider: str, what: str, seconds: float) -> errors.Unavailable:
    """The provider was silent for longer than it may be."""
    return errors.Unavailable(
        f"{provider} {what} within {seconds:g} s", reason=reasons.PROVIDER_TIMEOUT, metadata={"provider": provider}
    )


def stream_cut(provider: str) -> errors.Unavailable:
    """The answer ended before its end."""
    return errors.Unavailable(
        f"{provider} ended its answer before it was complete",
        reason=reasons.PROVIDER_STREAM_CUT,
        metadata={"provider": provider},
    )


def protocol_error(provider: str, what: str) -> errors.Unavailable:
    """The provider says something its protocol does not know."""
    return errors.Unavailable(
        f"{provider} does not speak the expected protocol: {what}",
        reason=reasons.PROVIDER_PROTOCOL_ERROR,
        metadata={"provider": provider},
    )


def message_of(body: bytes) -> str:
    """The message in an error body of any of the usual shapes; empty when there is none."""
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        return ""
    if isinstance(found, dict) and isinstance(error := found.get("error", found), dict | str):
        found = error.get("message", "") if isinstance(error, dict) else error
    return found[:_LONGEST_MESSAGE] if isinstance(found, str) else ""


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds `Retry-After` asks for (RFC 9110, 10.2.3), or OpenAI's finer `retry-after-ms`; names in lower case."""
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
