"""Turns the credential of a request into a principal; shared by the gRPC pipeline and the HTTP edge.

What the credentials are, the identity service knows; `services.mesh.authentication` asks it. A development stack has a
key beside them, which `soma up --dev` writes into the data directory. It stands for the administrator of one tenant.
"""

import hmac
from dataclasses import dataclass
from typing import Protocol

from soma.errors.v1 import reasons

from services.mesh.call import errors
from services.mesh.call.principal import OPERATOR, Principal

# The address that a request came from. The gateway sets it, and drops what a client sends.
SOURCE = "x-soma-source"
DEV_PRINCIPAL = Principal(tenant_id=OPERATOR, subject="dev", roles=("admin",), scopes=frozenset({"*"}))


class Authenticator(Protocol):
    """Checks credentials."""

    async def authenticate(
        self, authorization: str | None, api_key: str | None, source: str | None = None
    ) -> Principal:
        """The principal behind an `Authorization: Bearer …` or an `x-api-key` header from an address.

        Raises:
            Unauthenticated: there is no credential, or it is not valid.
        """
        ...


@dataclass(frozen=True, slots=True)
class Spent:
    """What a caller has left after a request.

    Attributes:
        limit: requests that it may make in a minute.
        left: requests that it may make now.
        reset_seconds: seconds until it may make more than `left`.
    """

    limit: int
    left: int
    reset_seconds: float

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """The same as headers of an answer, with the names that OpenAI's clients know."""
        return (
            ("x-ratelimit-limit-requests", f"{self.limit}"),
            ("x-ratelimit-remaining-requests", f"{self.left}"),
            ("x-ratelimit-reset-requests", f"{self.reset_seconds:.3f}s"),
        )


class Limiter(Protocol):
    """Counts the requests of callers from outside."""

    async def spend(self, who: Principal, kind: str) -> Spent | None:
        """Count one request of a kind, such as `read` or `execute`; None for a caller without a limit.

        Raises:
            ResourceExhausted: the key or the tenant has made as many as it may; says when to try again.
        """
        ...


class Unlimited:
    """Counts nothing."""

    async def spend(self, who: Principal, kind: str) -> Spent | None:
        """None, because there is no limit."""
        return None


class DevAuthenticator:
    """Accepts the one key of a development stack."""

    def __init__(self, key: str) -> None:
        self._key = key.encode()

    async def authenticate(
        self, authorization: str | None, api_key: str | None, source: str | None = None
    ) -> Principal:
        """The principal of the key.

        Raises:
            Unauthenticated: there is no credential, or it is another key.
        """
        given = credential(authorization, api_key)
        if not hmac.compare_digest(given.encode(), self._key):
            raise errors.Unauthenticated("the API key is not valid", reason=reasons.CREDENTIAL_INVALID)
        return DEV_PRINCIPAL


def credential(authorization: str | None, api_key: str | None) -> str:
    """The credential of a request, the `Authorization` header first.

    Raises:
        Unauthenticated: there is none, or the scheme is not Bearer.
    """
    if authorization:
        scheme, _, value = authorization.partition(" ")
        if scheme.lower() != "bearer" or not value.strip():
            raise errors.Unauthenticated(
                "the Authorization header is not `Bearer <key>`", reason=reasons.CREDENTIAL_INVALID
            )
        return value.strip()
    if api_key:
        return api_key.strip()
    raise errors.Unauthenticated("send an API key as `Authorization: Bearer <key>` or `x-api-key`")
