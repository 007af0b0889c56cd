"""Our own access tokens: JWTs that are signed with EdDSA (RFC 7519, RFC 8037), and say whose session it is.

They say nothing of what their owner may do: that is looked up, so that a change counts at once.
"""

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import jwt
from soma.errors.v1 import reasons

from services.identity.signing_keys import SigningKey, signing
from services.mesh.call import errors

ISSUER = AUDIENCE = "somamesh"
ALGORITHM = "EdDSA"
_TYPE = "at+jwt"
_HEADER = frozenset({"alg", "kid", "typ"})
_CLAIMS = ("iss", "aud", "sub", "tenant_id", "sid", "iat", "exp", "jti")
_LONGEST = 8192


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
        self._keys = keys
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
        key = signing(self._keys(), now)
        claims: dict[str, Any] = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": str(user_id),
            "tenant_id": tenant_id,
            "sid": str(session_id),
            "iat": now,
            "exp": now + self._lifetime,
            "jti": str(uuid4()),
        }
        return jwt.encode(claims, key.private, ALGORITHM, headers={"kid": key.key_id, "typ": _TYPE})

    def read(self, token: str, now: datetime) -> Claims:
        """What a token says, if one of our keys has signed it and it is valid now.

        Raises:
            Unauthenticated: it is no token of ours, was changed, or has expired.
        """
        key_id = _header(token).get("kid")
        key = next((key for key in self._keys() if key.key_id == key_id), None)
        if key is None or (key.retire_time is not None and key.retire_time <= now):
            raise _invalid("no key of ours has signed it")
        try:
            # Times are compared below, with the given time.
            claims = jwt.decode(
                token,
                key.public,
                algorithms=[ALGORITHM],
                audience=AUDIENCE,
                issuer=ISSUER,
                options={"require": list(_CLAIMS), "verify_exp": False, "verify_iat": False, "verify_nbf": False},
            )
            expire_time = datetime.fromtimestamp(claims["exp"], UTC)
            found = Claims(claims["tenant_id"], UUID(claims["sub"]), UUID(claims["sid"]), expire_time)
        except (jwt.InvalidTokenError, ValueError, TypeError, OverflowError, AttributeError) as error:
            raise _invalid("its signature or its claims are wrong") from error
        if not isinstance(found.tenant_id, str):
            raise _invalid("its claims are wrong")
        if expire_time <= now:
            raise errors.Unauthenticated("the token has expired", reason=reasons.TOKEN_EXPIRED)
        return found


def _header(token: str) -> dict[str, Any]:
    """The header, which may have only what our own tokens have: nothing that names a key or an algorithm of its own.

    Raises:
        Unauthenticated: it is something else.
    """
    if len(token) > _LONGEST or token.count(".") != 2:
        raise _invalid("it is no token of ours")
    encoded = token.partition(".")[0]
    try:
        pairs = json.loads(
            base64.b64decode(encoded + "=" * (-len(encoded) % 4), altchars=b"-_", validate=True), object_pairs_hook=list
        )
        header = dict(pairs)
    except (binascii.Error, ValueError, TypeError, RecursionError) as error:
        raise _invalid("it is no token of ours") from error
    if len(pairs) != len(header) or not header.keys() <= _HEADER or header.get("alg") != ALGORITHM:
        raise _invalid("its header is not one of ours")
    return header


def _invalid(why: str) -> errors.Unauthenticated:
    return errors.Unauthenticated(f"the token is not valid: {why}", reason=reasons.TOKEN_INVALID)
