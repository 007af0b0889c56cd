"""Tokens of our own: JWTs that are signed with EdDSA (RFC 7519, RFC 8037), each of one kind and for one use."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import jwt
from soma.errors.v1 import reasons

from services.identity import jws
from services.identity.signing_keys import SigningKey, signing
from services.mesh.call import errors

ISSUER = "somamesh"
ALGORITHM = "EdDSA"
# Nothing else may be in a header: nothing that brings a key or an address of keys.
_HEADER = frozenset({"alg", "kid", "typ"})


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of token, by its `typ` and its `aud`; a token of one kind is none of another."""

    typ: str
    audience: str


class OwnTokens:
    """Writes and reads tokens of a kind with the keys that `keys` returns."""

    def __init__(self, keys: Callable[[], Sequence[SigningKey]], kind: Kind) -> None:
        self._keys = keys
        self._kind = kind

    def write(self, claims: Mapping[str, Any], now: datetime, expire_time: datetime) -> str:
        """A token that is valid from now on.

        Raises:
            Unavailable: no key signs yet.
        """
        key = signing(self._keys(), now)
        own = {"iss": ISSUER, "aud": self._kind.audience, "iat": now, "exp": expire_time, "jti": str(uuid4())}
        return jwt.encode({**own, **claims}, key.private, ALGORITHM, headers={"kid": key.key_id, "typ": self._kind.typ})

    def read(self, token: str, now: datetime) -> tuple[Mapping[str, Any], datetime]:
        """What a token says and when it expires, if one of our keys has signed it and it is valid now.

        Raises:
            Unauthenticated: it is no token of this kind, was changed, or has expired.
        """
        try:
            given = jws.read(token)
            if not given.header.keys() <= _HEADER or given.header.get("alg") != ALGORITHM:
                raise invalid("its header is not one of ours")
            key = self._key(given.header.get("kid"), now)
            if not given.is_signed(ALGORITHM, key.public):
                raise invalid("its signature is wrong")
            claims = given.claims
        except jws.Malformed as error:
            raise invalid("it is no token of ours") from error
        if (
            given.header.get("typ") != self._kind.typ
            or claims.get("iss") != ISSUER
            or claims.get("aud") != self._kind.audience
        ):
            raise invalid("it is for another use")
        expire_time = time_of(claims.get("exp"))
        if expire_time is None:
            raise invalid("its claims are wrong")
        if expire_time <= now:
            raise expired()
        return claims, expire_time

    def _key(self, key_id: object, now: datetime) -> SigningKey:
        key = next((key for key in self._keys() if key.key_id == key_id), None)
        if key is None or (key.retire_time is not None and key.retire_time <= now):
            raise invalid("no key of ours has signed it")
        return key


def time_of(seconds: object) -> datetime | None:
    """A time of a claim; None if it is none."""
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        return None
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def invalid(why: str) -> errors.Unauthenticated:
    """The error of a token that is not valid."""
    return errors.Unauthenticated(f"the token is not valid: {why}", reason=reasons.TOKEN_INVALID)


def expired() -> errors.Unauthenticated:
    """The error of a token whose time is over."""
    return errors.Unauthenticated("the token has expired", reason=reasons.TOKEN_EXPIRED)
