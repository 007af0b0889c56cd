"""Delegated tokens: what work acts with that goes on for somebody after the call in which it was asked for.

`act` names who acts (RFC 8693, section 4.1): the outermost actor acts now, and each one inside asked the one around it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from services.identity.own_token import Kind, OwnTokens, invalid
from services.identity.signing_keys import SigningKey

KIND = Kind("delegated+jwt", "somamesh:inside")


@dataclass(frozen=True, slots=True)
class Delegation:
    """Whose work it is, and what it may do.

    Attributes:
        credential_id: the API key or the session with which it was asked for; empty for the key of a development stack.
        scopes: what it needs.
        act: who acts, the one that acts now first.
    """

    tenant_id: str
    subject: str
    credential_id: str
    scopes: frozenset[str]
    act: tuple[str, ...]
    expire_time: datetime


class DelegatedTokens:
    """Writes and reads delegated tokens with the keys that `keys` returns."""

    def __init__(self, keys: Callable[[], Sequence[SigningKey]]) -> None:
        self._tokens = OwnTokens(keys, KIND)

    def write(self, given: Delegation, now: datetime) -> str:
        """A token that is valid from now on.

        Raises:
            Unavailable: no key signs yet.
        """
        act: dict[str, Any] = {}
        for actor in reversed(given.act):
            act = {"sub": actor, "act": act} if act else {"sub": actor}
        claims = {
            "sub": given.subject,
            "tenant_id": given.tenant_id,
            "cid": given.credential_id,
            "scope": " ".join(sorted(given.scopes)),
            "act": act,
        }
        return self._tokens.write(claims, now, given.expire_time)

    def read(self, token: str, now: datetime) -> Delegation:
        """What a token says, if one of our keys has signed it and it is valid now.

        Raises:
            Unauthenticated: it is no delegated token of ours, was changed, or has expired.
        """
        claims, expire_time = self._tokens.read(token, now)
        texts = [claims.get(name) for name in ("tenant_id", "sub", "cid", "scope")]
        if not all(isinstance(text, str) for text in texts):
            raise invalid("its claims are wrong")
        tenant_id, subject, credential_id, scope = map(str, texts)
        act = tuple(_actors(claims.get("act")))
        if not act or not scope:
            raise invalid("its claims are wrong")
        return Delegation(tenant_id, subject, credential_id, frozenset(scope.split()), act, expire_time)


def _actors(act: object) -> Sequence[str]:
    found: list[str] = []
    while isinstance(act, Mapping) and isinstance(act.get("sub"), str):
        found.append(act["sub"])
        act = act.get("act")
    return found
