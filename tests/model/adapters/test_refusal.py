"""Refusals of vendors become typed errors."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from services.mesh.call.errors import Code
from services.model.adapters.refusal import message_of, refusal, retry_after


@pytest.mark.parametrize(
    ("status", "code", "reason"),
    [
        (302, Code.UNAVAILABLE, "PROVIDER_PROTOCOL_ERROR"),
        (402, Code.FAILED_PRECONDITION, "PROVIDER_CREDENTIAL_REFUSED"),
        (403, Code.FAILED_PRECONDITION, "PROVIDER_CREDENTIAL_REFUSED"),
        (408, Code.UNAVAILABLE, "PROVIDER_TIMEOUT"),
        (413, Code.INVALID_ARGUMENT, "PROVIDER_REFUSED_REQUEST"),
        (422, Code.INVALID_ARGUMENT, "PROVIDER_REFUSED_REQUEST"),
        (502, Code.UNAVAILABLE, "PROVIDER_UNAVAILABLE"),
        (504, Code.UNAVAILABLE, "PROVIDER_TIMEOUT"),
        (529, Code.UNAVAILABLE, "PROVIDER_UNAVAILABLE"),
    ],
)
def test_each_status_has_its_error(status: int, code: Code, reason: str) -> None:
    error = refusal("vendor", status, {}, b"")
    assert (error.code, error.reason, error.facts.metadata) == (code, reason, {"provider": "vendor"})


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"error": {"message": "too long", "type": "x"}}', "too long"),
        (b'{"type": "error", "error": {"type": "x", "message": "too long"}}', "too long"),
        (b'{"error": "too long"}', "too long"),
        (b'{"object": "error", "message": "too long"}', "too long"),
        (b'{"error": {"message": 7}}', ""),
        (b"[1]", ""),
        (b"<html>", ""),
        (b"", ""),
    ],
)
def test_the_vendors_message_is_found_in_every_usual_shape(body: bytes, message: str) -> None:
    assert message_of(body) == message


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after-ms": "250", "retry-after": "7"}, 0.25),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-3"}, None),
        ({}, None),
    ],
)
def test_seconds_until_a_retry_are_read_in_every_form(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers) == seconds


def test_a_date_until_a_retry_is_counted_from_now_and_never_negative() -> None:
    later = retry_after({"retry-after": format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)})
    assert later is not None
    assert 55 < later <= 60
    assert retry_after({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 0.0
