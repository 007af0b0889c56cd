"""Access tokens: they say whose session it is, and nothing of what their owner may do.

That is looked up, so that a change counts at once.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from services.identity.own_token import Kind, OwnTokens, invalid
from services.identity.signing_keys import SigningKey

KIND = Kind("at+jwt", "somamesh")


@dataclass(frozen=True, slots=True)
class Claims:
    """What a token says."""

    tenant_id: str
    user_id: UUID
    session_id: UUID
    expire_time: datetime


class AccessTokens:
    """Writes and reads access tokens with the keys that `keys` returns."""

    def __init__(self, keys: Callable[[], Sequence[SigningKey]], lifetime: timedelta) -> None:
        self._tokens = OwnTokens(keys, KIND)
        self._lifetime = lifetime

    @property
    def lifetime(self) -> timedelta:
        """How long a token is valid."""
        return self._lifetime

    def write(self, tenant_id: str, user_id: UUID, session_id: UUID, now: datetime) -> str:
        """A token that is valid from now on.

        Raises:
            Unavailable: no key signs yet.
        """
        claims = {"sub": str(user_id), "tenant_id": tenant_id, "sid": str(session_id)}
        return self._tokens.write(claims, now, now + self._lifetime)

    def read(self, token: str, now: datetime) -> Claims:
        """What a token says, if one of our keys has signed it and it is valid now.

        Raises:
            Unauthenticated: it is no access token of ours, was changed, or has expired.
        """
        claims, expire_time = self._tokens.read(token, now)
        tenant_id = claims.get("tenant_id")
        try:
            user_id, session_id = UUID(claims["sub"]), UUID(claims["sid"])
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            raise invalid("its claims are wrong") from error
        if not isinstance(tenant_id, str):
            raise invalid("its claims are wrong")
        return Claims(tenant_id, user_id, session_id, expire_time)
