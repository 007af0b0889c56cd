"""Checks tokens of outside issuers: signed by a key of the issuer, by an algorithm of the settings, for us, and now."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from services.identity import jws
from services.identity.jws import Jws
from services.identity.outside.issuer_keys import IssuerKeys
from services.identity.outside.settings import Issuer
from services.identity.own_token import expired, invalid, time_of

# How far the clocks of an issuer and of this machine may be apart for a token that has just been made.
CLOCKS = timedelta(seconds=30)
LONGEST_SUBJECT = 255
# What would say by itself how the token is to be checked, and extensions that nobody here knows (RFC 7515, 4.1).
_REFUSED_HEADERS = frozenset({"jwk", "jku", "x5u", "x5c", "crit", "zip", "b64"})
# Kinds of tokens that let somebody in. Others, such as `logout+jwt`, are for something else.
_TYPES = frozenset({"jwt", "at+jwt", "application/at+jwt"})


@dataclass(frozen=True, slots=True)
class Checked:
    """A valid token: whose it is, until when it is valid, and all that it says."""

    subject: str
    expire_time: datetime
    claims: Mapping[str, Any]


def issuer_of(given: Jws) -> object:
    """What a token says about its issuer, which is not checked yet; None if it says nothing."""
    try:
        return given.claims.get("iss")
    except jws.Malformed:
        return None


async def check(given: Jws, issuer: Issuer, keys: IssuerKeys, now: datetime) -> Checked:
    """Check a token of an issuer.

    Raises:
        Unauthenticated: it is not valid, or has expired.
        Unavailable: the keys of the issuer cannot be read.
    """
    await check_signature(given, issuer, keys)
    try:
        claims = given.claims
    except jws.Malformed as error:
        raise invalid("it has no claims") from error
    audience = claims.get("aud")
    if claims.get("iss") != issuer.url:
        raise invalid("another issuer has made it")
    if issuer.audience not in (audience if isinstance(audience, list) else (audience,)):
        raise invalid("it is not for this audience")
    expire_time, subject = time_of(claims.get("exp")), claims.get("sub")
    if expire_time is None or not isinstance(subject, str) or not 0 < len(subject) <= LONGEST_SUBJECT:
        raise invalid("its claims are wrong")
    if "\0" in subject:
        raise invalid("its claims are wrong")
    for name in ("nbf", "iat"):
        begin = time_of(claims.get(name, 0))
        if begin is None or begin > now + CLOCKS:
            raise invalid("it is not valid yet")
    if expire_time <= now:
        raise expired()
    return Checked(subject, expire_time, claims)


async def check_signature(given: Jws, issuer: Issuer, keys: IssuerKeys) -> None:
    """Check the header and the signature of a token.

    Raises:
        Unauthenticated: an algorithm is not in the settings, or no key of the issuer has signed it.
        Unavailable: the keys of the issuer cannot be read.
    """
    header = given.header
    algorithm, kind, key_id = header.get("alg"), header.get("typ", "JWT"), header.get("kid")
    if not isinstance(algorithm, str) or algorithm not in issuer.algorithms:
        raise invalid("its algorithm is not one that the settings name")
    if not _REFUSED_HEADERS.isdisjoint(header) or not isinstance(kind, str) or kind.lower() not in _TYPES:
        raise invalid("its header is not allowed")
    if not isinstance(key_id, str | None):
        raise invalid("its header is not allowed")
    key = await keys.find(key_id, algorithm)
    if key is None:
        raise invalid("no key of its issuer has signed it")
    if not given.is_signed(algorithm, key.public):
        raise invalid("its signature is wrong")
