"""Failed logins, counted for all processes together, so that passwords cannot be guessed quickly.

They are counted for a user at an address, and for an address and a user alone. An address at which a user has logged in
is not slowed down by what others do elsewhere: nobody can lock a user out by guessing.
"""

import hashlib
from dataclasses import dataclass

import redis.asyncio as aioredis
import structlog
from soma.errors.v1 import reasons

from services.mesh.call import errors
from services.mesh.stores.redis import typed_errors

log = structlog.get_logger("identity")

WINDOW_SECONDS = 15 * 60
# After too many failures one attempt is answered in this time.
PAUSE_SECONDS = 30
KNOWN_SECONDS = 30 * 24 * 3600
# Of all users at an address, and of all unknown addresses at a user, so many times more failures are allowed.
_TOGETHER = 10
_FAILED, _PAUSED, _KNOWN = (f"soma:identity:{what}:" for what in ("failed", "paused", "known"))


@dataclass(frozen=True, slots=True)
class Attempt:
    """Somebody who gives a password: for which user, and from where; the address may be unknown."""

    tenant_id: str
    username: str
    source: str

    @property
    def here(self) -> str:
        """The user at the address."""
        return _hash(self.tenant_id, self.username.lower(), self.source)

    @property
    def user(self) -> str:
        """The user."""
        return _hash(self.tenant_id, self.username.lower())

    @property
    def address(self) -> str:
        """The address."""
        return _hash(self.source)


class Attempts:
    """Counts failed logins. While Redis is away they are not counted; the checks of passwords are slow all the same."""

    def __init__(self, client: aioredis.Redis, most: int) -> None:
        self._redis = client
        self._most = most

    async def begin(self, attempt: Attempt) -> None:
        """Refuse an attempt that comes too early after many failures.

        Raises:
            ResourceExhausted: wait for as long as it says.
        """
        try:
            with typed_errors():
                seconds = await self._wait(attempt)
        except errors.Unavailable as error:
            log.warning("failed logins are not counted", error=error.message)
            return
        if seconds:
            raise errors.ResourceExhausted(
                f"there were too many failed logins; try again in {seconds} seconds",
                reason=reasons.TOO_MANY_ATTEMPTS,
                retry_after=float(seconds),
            )

    async def failed(self, attempt: Attempt) -> None:
        """Count a failure."""
        try:
            with typed_errors():
                pipeline = self._redis.pipeline()
                for name in _names(attempt):
                    pipeline.incr(_FAILED + name)
                    pipeline.expire(_FAILED + name, WINDOW_SECONDS)
                await pipeline.execute()
        except errors.Unavailable as error:
            log.warning("failed logins are not counted", error=error.message)

    async def succeeded(self, attempt: Attempt) -> None:
        """Forget the failures of the user at the address, and know the address from now on."""
        try:
            with typed_errors():
                pipeline = self._redis.pipeline()
                pipeline.delete(_FAILED + attempt.here, _PAUSED + attempt.here)
                if attempt.source:
                    pipeline.set(_KNOWN + attempt.here, 1, ex=KNOWN_SECONDS)
                await pipeline.execute()
        except errors.Unavailable as error:
            log.warning("failed logins are not forgotten yet", error=error.message)

    async def _wait(self, attempt: Attempt) -> int:
        """For how many seconds an attempt has to wait; 0 if it may be made now."""
        names = _names(attempt)
        known, *failed = await self._redis.mget(_KNOWN + attempt.here, *(_FAILED + name for name in names))
        wait = 0
        for name, count in zip(names, failed, strict=True):
            most = self._most if name == attempt.here else self._most * _TOGETHER
            if int(count or 0) < most or (known is not None and name != attempt.here):
                continue
            if not await self._redis.set(_PAUSED + name, 1, ex=PAUSE_SECONDS, nx=True):
                wait = max(wait, await self._redis.ttl(_PAUSED + name), 1)
        return wait


def _names(attempt: Attempt) -> list[str]:
    return [attempt.here, attempt.user, *([attempt.address] if attempt.source else [])]


def _hash(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
