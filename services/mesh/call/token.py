"""The signed principal that travels between processes: HMAC-SHA256 over a serialised `SignedPrincipal`.

The signature is symmetric on purpose: every process of a stack has `internal.key`. A stack that spans trust domains
uses mTLS beside it.
"""

import base64
import binascii
import hashlib
import hmac
import time
from collections import OrderedDict
from typing import TypeVar

from google.protobuf.message import DecodeError
from google.protobuf.timestamp_pb2 import Timestamp
from soma.errors.v1 import reasons
from soma.identity.v1 import principal_pb2

from services.mesh.call import errors
from services.mesh.call.principal import Principal

LIFETIME = 60.0
METADATA_KEY = "x-soma-principal"
_REUSE = 30.0
_CACHED = 4096
_K = TypeVar("_K")
_V = TypeVar("_V")


class Signer:
    """Signs and verifies tokens with the stack's internal key (at least 32 bytes)."""

    def __init__(self, key: bytes, issuer: str) -> None:
        if len(key) < 32:
            raise errors.FailedPrecondition("the internal key is shorter than 32 bytes", reason=reasons.KEY_TOO_WEAK)
        self._key = key
        self._issuer = issuer
        self._signed: OrderedDict[tuple[Principal | None, bool], tuple[str, float]] = OrderedDict()
        self._verified: OrderedDict[str, tuple[Principal | None, bool, float]] = OrderedDict()

    def sign(self, principal: Principal | None, *, inside: bool = False) -> str:
        """A token for `principal`, or for the process itself; it is reused for half a minute.

        `inside` says that the right of the principal was checked, and that a service works for it.
        """
        now = time.time()
        known = self._signed.get((principal, inside))
        if known is not None and now < known[1]:
            return known[0]
        body = principal_pb2.SignedPrincipal(
            expire_time=Timestamp(seconds=int(now + LIFETIME)), issuer=self._issuer, inside=inside
        )
        if principal is not None:
            body.principal.CopyFrom(message_of(principal))
        payload = body.SerializeToString()
        token = base64.urlsafe_b64encode(self._mac(payload) + payload).decode()
        _keep(self._signed, (principal, inside), (token, now + _REUSE))
        return token

    def verify(self, token: str) -> tuple[Principal | None, bool]:
        """The principal a token was made for, None when a process calls for itself, and whether it is `inside`.

        Raises:
            Unauthenticated: the token is malformed, forged or expired.
        """
        now = time.time()
        known = self._verified.get(token)
        if known is not None:
            if now < known[2]:
                return known[:2]
            del self._verified[token]
        try:
            raw = base64.urlsafe_b64decode(token.encode())
            mac, payload = raw[:32], raw[32:]
            if not hmac.compare_digest(mac, self._mac(payload)):
                raise errors.Unauthenticated("the principal's signature is wrong", reason=reasons.TOKEN_INVALID)
            body = principal_pb2.SignedPrincipal.FromString(payload)
        except (binascii.Error, DecodeError, ValueError):
            raise errors.Unauthenticated("the principal's token is malformed", reason=reasons.TOKEN_INVALID) from None
        if body.expire_time.seconds <= now:
            raise errors.Unauthenticated("the principal's token has expired", reason=reasons.TOKEN_EXPIRED)
        principal = principal_of(body.principal) if body.HasField("principal") else None
        _keep(self._verified, token, (principal, body.inside, float(body.expire_time.seconds)))
        return principal, body.inside

    def _mac(self, payload: bytes) -> bytes:
        return hmac.new(self._key, payload, hashlib.sha256).digest()


def message_of(principal: Principal) -> principal_pb2.Principal:
    """The principal as the contract has it."""
    return principal_pb2.Principal(
        tenant_id=principal.tenant_id,
        subject=principal.subject,
        roles=principal.roles,
        scopes=sorted(principal.scopes),
        credential_id=principal.credential_id,
        tier=principal.tier,
        act=[principal_pb2.Actor(subject=actor) for actor in principal.act],
    )


def principal_of(message: principal_pb2.Principal) -> Principal:
    """The principal of a message of the contract."""
    return Principal(
        message.tenant_id,
        message.subject,
        tuple(message.roles),
        frozenset(message.scopes),
        message.credential_id,
        message.tier,
        tuple(actor.subject for actor in message.act),
    )


def _keep(cache: "OrderedDict[_K, _V]", key: _K, value: _V) -> None:
    cache[key] = value
    if len(cache) > _CACHED:
        cache.popitem(last=False)
