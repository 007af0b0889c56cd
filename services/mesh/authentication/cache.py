"""Keeps principals for at most a minute, and drops those that are revoked.

Only what identity said is kept, and never that it refused a credential: a key that is made a moment later works at
once. An answer that was on its way while something was revoked is not kept if the revocation concerns it.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b

from soma.identity.v1.auth_service_pb2 import Revocation

from services.mesh.call.principal import Principal

KEPT_SECONDS = 60.0
# From this age on, a principal that is used is asked for again, so that nobody waits when its time is over.
FRESH_SECONDS = 40.0
MOST_PRINCIPALS = 10_000
MOST_REVOCATIONS = 10_000
_DIGEST_BYTES = 16


@dataclass(frozen=True, slots=True)
class Kept:
    """A principal, until when it is kept, and from when on it is asked for again, by the monotonic clock."""

    principal: Principal
    until: float
    fresh_until: float


def digest(credential: str) -> bytes:
    """What stands for a credential, so that its text is not kept."""
    return blake2b(credential.encode(), digest_size=_DIGEST_BYTES).digest()


class PrincipalCache:
    """Principals by the digests of their credentials."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._kept: OrderedDict[bytes, Kept] = OrderedDict()
        self._revoked: deque[Revocation] = deque(maxlen=MOST_REVOCATIONS)
        self._forgotten = 0
        self._watched: dict[asyncio.Event, Principal] = {}

    def get(self, key: bytes) -> Kept | None:
        """The principal, if it is kept and its time is not over."""
        kept = self._kept.get(key)
        if kept is None or kept.until <= self._now():
            return None
        return kept

    def is_old(self, kept: Kept) -> bool:
        """Whether a principal that is kept is to be asked for again."""
        return kept.fresh_until <= self._now()

    def put(self, key: bytes, principal: Principal, lasts: float | None, sequence: int) -> None:
        """Keep a principal that identity found.

        Args:
            lasts: seconds until the credential expires; None if it does not.
            sequence: the newest revocation that identity knew when it looked.
        """
        if sequence < self._forgotten or any(
            revocation.sequence > sequence and concerns(revocation, principal) for revocation in self._revoked
        ):
            return
        now = self._now()
        until = now + min(KEPT_SECONDS, KEPT_SECONDS if lasts is None else lasts)
        self._kept[key] = Kept(principal, until, now + FRESH_SECONDS)
        self._kept.move_to_end(key)
        if len(self._kept) > MOST_PRINCIPALS:
            self._kept.popitem(last=False)

    def drop(self, key: bytes) -> None:
        """Forget a credential."""
        self._kept.pop(key, None)

    def revoke(self, revocation: Revocation) -> None:
        """Forget every principal that a revocation concerns."""
        if len(self._revoked) == MOST_REVOCATIONS:
            self._forgotten = self._revoked[0].sequence
        self._revoked.append(revocation)
        for key in [key for key, kept in self._kept.items() if concerns(revocation, kept.principal)]:
            del self._kept[key]
        for event, principal in self._watched.items():
            if concerns(revocation, principal):
                event.set()

    def clear(self) -> None:
        """Forget all principals."""
        self._kept.clear()
        for event in self._watched:
            event.set()

    @contextmanager
    def watching(self, principal: Principal, event: asyncio.Event) -> Iterator[None]:
        """Set an event whenever, in the block, a principal may have changed, whether it is kept or not."""
        self._watched[event] = principal
        try:
            yield
        finally:
            del self._watched[event]


def concerns(revocation: Revocation, principal: Principal) -> bool:
    """Whether a revocation takes something away from a principal."""
    if revocation.tenant_id != principal.tenant_id:
        return False
    match revocation.kind:
        case Revocation.KIND_CREDENTIAL:
            return revocation.id == principal.credential_id
        case Revocation.KIND_SUBJECT:
            return revocation.id == principal.subject
        case _:
            # A kind that this version does not know may concern everybody.
            return True
