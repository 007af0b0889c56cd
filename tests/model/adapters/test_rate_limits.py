"""The retry delay is read from the headers and bodies of a vendor's refusals."""

import time
from datetime import UTC, datetime, timedelta

import pytest

from services.model.adapters.rate_limits import renewed, retry_delay
from services.model.adapters.refusal import refusal
from services.model.vendor import Limit

REQUESTS = Limit(remaining="left-requests", reset="reset-requests", unit="duration")
TOKENS = Limit(remaining="left-tokens", reset="reset-tokens", unit="duration")


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"left-requests": "0", "reset-requests": "1s"}, 1.0),
        ({"left-requests": "0", "reset-requests": "6m0s"}, 360.0),
        ({"left-requests": "0", "reset-requests": "120ms"}, 0.12),
        ({"left-requests": "0", "reset-requests": "2m59.56s"}, 179.56),
        ({"left-requests": "0", "reset-requests": "1s", "left-tokens": "0", "reset-tokens": "1h"}, 3600.0),
        ({"left-requests": "9", "reset-requests": "1s", "left-tokens": "0", "reset-tokens": "5s"}, 5.0),
        ({"left-requests": "9", "reset-requests": "1s"}, None),
        ({"left-requests": "0", "reset-requests": "soon"}, None),
        ({"left-requests": "0", "reset-requests": "1s later"}, None),
        ({"left-requests": "none", "reset-requests": "1s"}, None),
        ({"left-requests": "0"}, None),
        ({}, None),
    ],
)
def test_the_delay_is_the_time_until_all_used_up_limits_are_renewed(
    headers: dict[str, str], seconds: float | None
) -> None:
    assert renewed(headers, (REQUESTS, TOKENS)) == (None if seconds is None else pytest.approx(seconds))


@pytest.mark.parametrize("unit", ["seconds", "iso", "unix", "unix_ms"])
def test_a_moment_is_read_as_the_vendor_writes_it(unit: str) -> None:
    moment = time.time() + 60
    value = {
        "seconds": "60.0",
        "iso": (datetime.now(UTC) + timedelta(seconds=60)).isoformat().replace("+00:00", "Z"),
        "unix": str(moment),
        "unix_ms": str(int(moment * 1000)),
    }[unit]
    limit = Limit(remaining="left", reset="reset", unit=unit)  # type: ignore[arg-type]
    assert renewed({"left": "0", "reset": value}, [limit]) == pytest.approx(60, abs=2)
    assert renewed({"left": "0", "reset": "nan"}, [limit]) is None


def test_a_renewal_in_the_past_gives_a_delay_of_0() -> None:
    limit = Limit(remaining="left", reset="reset", unit="unix")
    assert renewed({"left": "0", "reset": "1000"}, [limit]) == 0.0


def test_the_delay_in_the_body_of_googles_refusal_is_found() -> None:
    detail = b'{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.07s"}'
    body = (
        b'[{"error": {"code": 429, "message": "quota", "status": "RESOURCE_EXHAUSTED", "details": [{}, %s]}}]' % detail
    )
    assert retry_delay(body) == pytest.approx(34.07)
    assert refusal("gemini", 429, {}, body).facts.retry_after == pytest.approx(34.07)


@pytest.mark.parametrize("body", [b"", b"no", b"[]", b'{"error": "no"}', b'{"error": {"details": {}}}', b"[7]"])
def test_other_bodies_have_no_delay(body: bytes) -> None:
    assert retry_delay(body) is None


def test_retry_after_is_preferred_to_all_other_delays() -> None:
    headers = {"retry-after": "3", "left-requests": "0", "reset-requests": "9s"}
    assert refusal("lab", 429, headers, b"", limits=[REQUESTS]).facts.retry_after == 3.0
    del headers["retry-after"]
    assert refusal("lab", 429, headers, b"", limits=[REQUESTS]).facts.retry_after == 9.0
    assert refusal("lab", 500, headers, b"").facts.retry_after is None
