"""Failures the gateway itself reports, and how each reads as HTTP and as gRPC."""

import base64
from dataclasses import dataclass

from google.protobuf.any_pb2 import Any
from google.rpc.code_pb2 import Code
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

DOMAIN = "soma"


@dataclass(frozen=True)
class Failure:
    """Something that went wrong before a backend could answer."""

    reason: str
    code: "Code.ValueType"
    http: int
    message: str
    """Text for people; `{owner}` is the service the call was for."""
    flags: tuple[str, ...] = ()
    """Envoy's response flags that mean this failure."""
    statuses: tuple[int, ...] = ()
    """Envoy's own statuses that mean it, where there is no flag."""
    details: tuple[str, ...] = ()
    """Envoy's words for it (RESPONSE_CODE_DETAILS), where the status has other meanings too."""
    owned: bool = True
    """Whether it is told whose call it was; it may be so early that this is not known."""
    retry_after_seconds: int | None = None

    def text(self, owner: str) -> str:
        """The message with its owner filled in."""
        return self.message.format(owner=owner)

    def details_bin(self, owner: str) -> str:
        """Value of `grpc-status-details-bin`: the `google.rpc.Status`, base64."""
        detail = Any()
        metadata = {"service": owner} if self.owned else {}
        detail.Pack(ErrorInfo(reason=self.reason, domain=DOMAIN, metadata=metadata))
        status = Status(code=self.code, message=self.text(owner), details=[detail])
        return base64.b64encode(status.SerializeToString()).decode().rstrip("=")


UNKNOWN_SERVICE = Failure("UNKNOWN_SERVICE", Code.UNIMPLEMENTED, 404, "no such service", statuses=(404,))

# First match wins: a call refused by a limit also carries the flags of the retry that followed.
FAILURES = (
    Failure(
        "OVERLOADED",
        Code.UNAVAILABLE,
        503,
        "{owner} is at its limit of concurrent calls",
        flags=("UO",),
        retry_after_seconds=1,
    ),
    Failure("NO_LIVE_INSTANCE", Code.UNAVAILABLE, 503, "{owner} has no live instance", flags=("UH", "NC")),
    Failure(
        "INSTANCE_LOST",
        Code.UNAVAILABLE,
        503,
        "the instance of {owner} that took the call could not be reached",
        flags=("UF", "UC", "UR", "LR", "URX"),
    ),
    Failure(
        "DEADLINE_EXCEEDED",
        Code.DEADLINE_EXCEEDED,
        504,
        "{owner} did not answer in time",
        flags=("UT", "DT", "SI"),
        statuses=(504,),
    ),
    Failure(
        "REQUEST_TIMEOUT",
        Code.DEADLINE_EXCEEDED,
        408,
        "the request did not arrive whole in time",
        statuses=(408,),
        owned=False,
    ),
    Failure(
        "GATEWAY_OVERLOADED",
        Code.UNAVAILABLE,
        503,
        "the gateway has no memory left for more requests",
        details=("overload",),
        retry_after_seconds=1,
        owned=False,
    ),
    Failure("PAYLOAD_TOO_LARGE", Code.RESOURCE_EXHAUSTED, 413, "the message is larger than allowed", statuses=(413,)),
)

# Canonical names for statuses Envoy answers REST with by itself, its own text being the message.
BY_HTTP_STATUS = {
    400: ("INVALID_ARGUMENT", "BAD_REQUEST"),
    403: ("PERMISSION_DENIED", "FORBIDDEN"),
    405: ("UNIMPLEMENTED", "METHOD_NOT_ALLOWED"),
    415: ("INVALID_ARGUMENT", "UNSUPPORTED_MEDIA_TYPE"),
    429: ("RESOURCE_EXHAUSTED", "TOO_MANY_REQUESTS"),
    431: ("RESOURCE_EXHAUSTED", "HEADERS_TOO_LARGE"),
    500: ("INTERNAL", "GATEWAY_ERROR"),
    502: ("UNAVAILABLE", "BAD_GATEWAY"),
    503: ("UNAVAILABLE", "UNAVAILABLE"),
}
