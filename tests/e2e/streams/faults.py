"""Faults of a model server, and how each surface reports them."""

from dataclasses import dataclass

from services.model.testing.dialects import Fault
from tests.e2e.streams.surfaces import STREAMED


@dataclass(frozen=True)
class Report:
    """How each surface reports a fault.

    Attributes:
        code: the gRPC code.
        http: the HTTP status of an answer that is not streamed, or has not begun.
        reason: the reason of the mesh.
        openai: the exception of OpenAI's client for such an answer.
        python: the exception of the Python client.
        retry_after: the seconds that the provider named; None if it named none.
        code_openai: the `code` of OpenAI's error, if OpenAI has another one than the reason.
    """

    code: str
    http: int
    reason: str
    openai: str
    python: str
    retry_after: float | None = None
    code_openai: str = ""


def unavailable(reason: str, retry_after: float | None = None) -> Report:
    """The report of a provider that cannot be reached, or breaks its protocol."""
    return Report("UNAVAILABLE", 503, reason, "InternalServerError", "UnavailableError", retry_after)


# Faults before the first piece of the answer.
REFUSALS = {
    Fault.RESET: unavailable("PROVIDER_UNAVAILABLE"),
    Fault.HANG: unavailable("PROVIDER_TIMEOUT"),
    Fault.NOT_HTTP: unavailable("PROVIDER_PROTOCOL_ERROR"),
    Fault.GARBAGE: unavailable("PROVIDER_PROTOCOL_ERROR"),
    Fault.NOT_A_STREAM: unavailable("PROVIDER_PROTOCOL_ERROR"),
    Fault.RATE_LIMITED: Report(
        "RESOURCE_EXHAUSTED", 429, "PROVIDER_RATE_LIMITED", "RateLimitError", "RateLimitError", 7, "RATE_LIMIT_EXCEEDED"
    ),
    Fault.OVERLOADED: unavailable("PROVIDER_UNAVAILABLE", 7),
    Fault.BROKEN: unavailable("PROVIDER_UNAVAILABLE"),
    Fault.UNAUTHORIZED: Report(
        "FAILED_PRECONDITION", 400, "PROVIDER_CREDENTIAL_REFUSED", "BadRequestError", "InvalidRequestError"
    ),
    Fault.UNKNOWN_MODEL: Report("NOT_FOUND", 404, "MODEL_NOT_FOUND", "NotFoundError", "NotFoundError"),
    Fault.BAD_REQUEST: Report(
        "INVALID_ARGUMENT", 400, "PROVIDER_REFUSED_REQUEST", "BadRequestError", "InvalidRequestError"
    ),
}
# Faults after the first piece; the status of a stream is already 200.
INTERRUPTIONS = {
    Fault.HANG_MID: unavailable("PROVIDER_TIMEOUT"),
    Fault.RESET_MID: unavailable("PROVIDER_STREAM_CUT"),
    Fault.CUT_MID: unavailable("PROVIDER_STREAM_CUT"),
    Fault.TORN_MID: unavailable("PROVIDER_STREAM_CUT"),
    Fault.GARBAGE_MID: unavailable("PROVIDER_PROTOCOL_ERROR"),
    Fault.ERROR_MID: unavailable("PROVIDER_UNAVAILABLE"),
}


def expected(surface: str, report: Report, *, begun: bool) -> tuple[int | str, str, str]:
    """Status, reason and exception of a fault on a surface; `begun` if a part of the answer was sent before."""
    streamed = begun and surface in STREAMED
    if surface.startswith("OpenAI"):
        if not streamed:
            return report.http, report.code_openai or report.reason, report.openai
        return 200, report.code_openai or report.reason, "APIError"
    if surface == "Python client":
        return report.code, report.reason, report.python
    if surface.startswith("native"):
        return report.code, report.reason, "AioRpcError"
    if surface == "grpc-web":
        return report.code, report.reason, "Refused"
    return 200 if streamed else report.http, report.reason, "Refused"
