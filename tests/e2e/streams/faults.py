"""What may go wrong with a model's server, in the words of each surface."""

from dataclasses import dataclass

from services.model.testing.dialects import Fault
from tests.e2e.streams.surfaces import STREAMED


@dataclass(frozen=True)
class Told:
    """A fault in the words of each surface.

    Attributes:
        code: gRPC's.
        http: the status of an answer that has not begun, or is asked for whole.
        reason: the mesh's.
        openai: the exception of OpenAI's client for such an answer, and of a stream that has not begun.
        python: the exception of the Python client.
        retry_after: what the provider said, where it did.
        code_openai: the `code` of OpenAI's error, where its clients look for another one than the reason.
        code_response: the `code` in a streamed response that fails on the way.
    """

    code: str
    http: int
    reason: str
    openai: str
    python: str
    retry_after: float | None = None
    code_openai: str = ""
    code_response: str = "SERVER_ERROR"


def unavailable(reason: str, retry_after: float | None = None) -> Told:
    """A provider that is not there, or does not do what it should."""
    return Told("UNAVAILABLE", 503, reason, "InternalServerError", "UnavailableError", retry_after)


# Before the first piece of the answer.
REFUSALS = {
    Fault.RESET: unavailable("PROVIDER_UNAVAILABLE"),
    Fault.HANG: unavailable("PROVIDER_TIMEOUT"),
    Fault.NOT_HTTP: unavailable("PROVIDER_PROTOCOL_ERROR"),
    Fault.GARBAGE: unavailable("PROVIDER_PROTOCOL_ERROR"),
    Fault.NOT_A_STREAM: unavailable("PROVIDER_PROTOCOL_ERROR"),
    Fault.RATE_LIMITED: Told(
        "RESOURCE_EXHAUSTED", 429, "PROVIDER_RATE_LIMITED", "RateLimitError", "RateLimitError", 7, "RATE_LIMIT_EXCEEDED"
    ),
    Fault.OVERLOADED: unavailable("PROVIDER_UNAVAILABLE", 7),
    Fault.BROKEN: unavailable("PROVIDER_UNAVAILABLE"),
    Fault.UNAUTHORIZED: Told(
        "FAILED_PRECONDITION", 400, "PROVIDER_CREDENTIAL_REFUSED", "BadRequestError", "InvalidRequestError"
    ),
    Fault.UNKNOWN_MODEL: Told("NOT_FOUND", 404, "MODEL_NOT_FOUND", "NotFoundError", "NotFoundError"),
    Fault.BAD_REQUEST: Told(
        "INVALID_ARGUMENT", 400, "PROVIDER_REFUSED_REQUEST", "BadRequestError", "InvalidRequestError"
    ),
}
# After it; a stream is 200 already.
INTERRUPTIONS = {
    Fault.HANG_MID: unavailable("PROVIDER_TIMEOUT"),
    Fault.RESET_MID: unavailable("PROVIDER_STREAM_CUT"),
    Fault.CUT_MID: unavailable("PROVIDER_STREAM_CUT"),
    Fault.TORN_MID: unavailable("PROVIDER_STREAM_CUT"),
    Fault.GARBAGE_MID: unavailable("PROVIDER_PROTOCOL_ERROR"),
    Fault.ERROR_MID: unavailable("PROVIDER_UNAVAILABLE"),
}


def expected(surface: str, told: Told, *, begun: bool) -> tuple[int | str, str, str]:
    """Status, reason and exception of a fault on a surface; `begun` if some of the answer has been told."""
    streamed = begun and surface in STREAMED
    if surface.startswith("OpenAI"):
        if not streamed:
            return told.http, told.code_openai or told.reason, told.openai
        if "response" in surface:
            return 200, told.code_response, "Refused"
        return 200, told.code_openai or told.reason, "APIError"
    if surface == "Python client":
        return told.code, told.reason, told.python
    if surface.startswith("native"):
        return told.code, told.reason, "AioRpcError"
    if surface == "grpc-web":
        return told.code, told.reason, "Refused"
    return 200 if streamed else told.http, told.reason, "Refused"
