"""Failures that the gateway reports itself, each with its HTTP and gRPC form."""

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
    """A failure that happens before a backend can answer."""

    reason: str
    """A reason that the contracts declare, with its HTTP and gRPC status."""
    message: str
    """Text for people; `{owner}` is the service that was called."""
    flags: tuple[str, ...] = ()
    """Envoy's response flags that mean this failure."""
    statuses: tuple[int, ...] = ()
    """HTTP statuses of Envoy's own answers that mean this failure, if there is no flag for it."""
    details: tuple[str, ...] = ()
    """Envoy's RESPONSE_CODE_DETAILS for this failure, if its status has other meanings too."""
    owned: bool = True
    """Whether the error names the called service; some failures happen before the service is known."""
    retry_after_seconds: int | None = None

    @property
    def code(self) -> "Code.ValueType":
        """The canonical gRPC code."""
        return Code.Value(reasons.DECLARED[self.reason].status)

    @property
    def http(self) -> int:
        """The HTTP status."""
        return reasons.DECLARED[self.reason].http

    def text(self, owner: str) -> str:
        """The message with the name of the owner."""
        return self.message.format(owner=owner)

    def details_bin(self, owner: str) -> str:
        """The value of `grpc-status-details-bin`: a `google.rpc.Status` in base64."""
        detail = Any()
        metadata = {"service": owner} if self.owned else {}
        detail.Pack(ErrorInfo(reason=self.reason, domain=DOMAIN, metadata=metadata))
        status = Status(code=self.code, message=self.text(owner), details=[detail])
        return base64.b64encode(status.SerializeToString()).decode().rstrip("=")


UNKNOWN_SERVICE = Failure(reasons.UNKNOWN_SERVICE, "no such service", statuses=(404,))

# The first match counts: a call that a limit refused also has the flags of the retry after it.
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
    Failure(
        reasons.GATEWAY_OVERLOADED,
        "the gateway has as many large requests as it takes at the same time",
        statuses=(529,),
        retry_after_seconds=1,
        owned=False,
    ),
    Failure(reasons.PAYLOAD_TOO_LARGE, "the message is larger than allowed", statuses=(413,)),
)

# Reasons of Envoy's other own answers to REST, by HTTP status; Envoy's text is the message.
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
