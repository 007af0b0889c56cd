"""Failures the gateway itself reports, and how each reads as HTTP and as gRPC."""

import base64
from dataclasses import dataclass

from google.protobuf.any_pb2 import Any
from google.rpc.code_pb2 import Code
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status
from soma.errors.v1 import reasons

DOMAIN = "soma"


@dataclass(frozen=True)
class Failure:
    """Something that went wrong before a backend could answer."""

    reason: str
    """One the contracts declare, with its statuses."""
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

    @property
    def code(self) -> "Code.ValueType":
        """Canonical status."""
        return Code.Value(reasons.DECLARED[self.reason].status)

    @property
    def http(self) -> int:
        """HTTP status."""
        return reasons.DECLARED[self.reason].http

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


UNKNOWN_SERVICE = Failure(reasons.UNKNOWN_SERVICE, "no such service", statuses=(404,))

# First match wins: a call refused by a limit also carries the flags of the retry that followed.
FAILURES = (
    Failure(
        reasons.OVERLOADED,
        "{owner} is at its limit of concurrent calls",
        flags=("UO",),
        retry_after_seconds=1,
    ),
    Failure(reasons.NO_LIVE_INSTANCE, "{owner} has no live instance", flags=("UH", "NC")),
    Failure(
        reasons.INSTANCE_LOST,
        "the instance of {owner} that took the call could not be reached",
        flags=("UF", "UC", "UR", "LR", "URX"),
    ),
    Failure(
        reasons.DEADLINE_EXCEEDED,
        "{owner} did not answer in time",
        flags=("UT", "DT", "SI"),
        statuses=(504,),
    ),
    Failure(
        reasons.REQUEST_TIMEOUT,
        "the request did not arrive whole in time",
        statuses=(408,),
        owned=False,
    ),
    Failure(
        reasons.GATEWAY_OVERLOADED,
        "the gateway has no memory left for more requests",
        details=("overload",),
        retry_after_seconds=1,
        owned=False,
    ),
    Failure(reasons.PAYLOAD_TOO_LARGE, "the message is larger than allowed", statuses=(413,)),
)

# What Envoy answers REST with by itself, by HTTP status; its own text is the message.
BY_HTTP_STATUS = {
    reasons.DECLARED[reason].http: reason
    for reason in (
        reasons.BAD_REQUEST,
        reasons.FORBIDDEN,
        reasons.METHOD_NOT_ALLOWED,
        reasons.UNSUPPORTED_MEDIA_TYPE,
        reasons.TOO_MANY_REQUESTS,
        reasons.HEADERS_TOO_LARGE,
        reasons.GATEWAY_ERROR,
        reasons.BAD_GATEWAY,
        reasons.UNAVAILABLE,
    )
}
