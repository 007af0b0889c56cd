"""Turns the credential of a request into a principal; shared by the gRPC pipeline and the HTTP edge.

There is one kind of credential: the key that `soma up --dev` writes into the data directory. It stands for the
administrator of one tenant.
"""

import hmac
from typing import Protocol

from soma.errors.v1 import reasons

from services.mesh.call import errors
from services.mesh.call.principal import Principal

DEV_PRINCIPAL = Principal(tenant_id="default", subject="dev", roles=("admin",), scopes=frozenset({"*"}))


class Authenticator(Protocol):
    """Checks credentials."""

    async def authenticate(self, authorization: str | None, api_key: str | None) -> Principal:
        """The principal behind an `Authorization: Bearer …` or an `x-api-key` header.

        Raises:
            Unauthenticated: there is no credential, or it is not valid.
        """
        ...


class DevAuthenticator:
    """Accepts the one key of a development stack."""

    def __init__(self, key: str) -> None:
        self._key = key.encode()

    async def authenticate(self, authorization: str | None, api_key: str | None) -> Principal:
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
