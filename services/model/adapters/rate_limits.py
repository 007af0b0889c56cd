"""Finds out when to repeat a rate-limited request, if the vendor's answer has no `Retry-After`."""

import math
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from services.model.adapters.counts import member
from services.model.adapters.surrogates import read_json
from services.model.vendor import Limit

_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|[smhd]))+")
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhd])")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
# Google's type of the detail of an error that has the retry delay.
_RETRY_INFO = "google.rpc.RetryInfo"


def renewed(headers: Mapping[str, str], limits: Sequence[Limit]) -> float | None:
    """Seconds until all used-up limits are renewed; None if the headers do not have this."""
    waits = [
        wait
        for limit in limits
        if _used_up(headers.get(limit.remaining, ""))
        and (wait := _until(headers.get(limit.reset, ""), limit.unit)) is not None
    ]
    return max(waits, default=None)


def retry_delay(body: bytes) -> float | None:
    """The retry delay in the body of a refusal (Google sends one), in seconds; None if it has none."""
    try:
        found = read_json(body)
    except ValueError:
        return None
    if isinstance(found, list):
        found = found[0] if found else None
    details = member(member(found, "error"), "details")
    for detail in details if isinstance(details, list) else ():
        if str(member(detail, "@type")).endswith(_RETRY_INFO):
            return _until(member(detail, "retryDelay"), "duration")
    return None


def _used_up(remaining: str) -> bool:
    try:
        return float(remaining) <= 0
    except ValueError:
        return False


def _until(value: Any, unit: str) -> float | None:
    """Seconds from now until the time in a header; None if it cannot be read."""
    text = value.strip() if isinstance(value, str) else ""
    try:
        if unit == "duration":
            parts = _PART.findall(text) if _DURATION.fullmatch(text) else ()
            return sum(float(amount) * _SECONDS[part] for amount, part in parts) if parts else None
        if unit == "iso":
            moment = datetime.fromisoformat(text)
            seconds = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() - _now()
        else:
            seconds = float(text)
            if unit != "seconds":
                seconds = seconds / (1000 if unit == "unix_ms" else 1) - _now()
    except (ValueError, OverflowError):
        return None
    return max(0.0, seconds) if math.isfinite(seconds) else None


def _now() -> float:
    return datetime.now(UTC).timestamp()
