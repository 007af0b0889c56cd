"""Failed logins of each user, counted for all processes together, so that passwords cannot be guessed quickly."""

import hashlib

import redis.asyncio as aioredis
import structlog
from soma.errors.v1 import reasons

from services.mesh.call import errors
from services.mesh.stores.redis import typed_errors

log = structlog.get_logger("identity")

WINDOW_SECONDS = 15 * 60
# After too many failures one attempt is answered in this time.
PAUSE_SECONDS = 30
_PREFIX = "soma:identity:failed:"
_PAUSED = "soma:identity:paused:"


class Attempts:
    """Counts failed logins. While Redis is away they are not counted; the checks of passwords are slow all the same."""

    def __init__(self, client: aioredis.Redis, most: int) -> None:
        self._redis = client
        self._most = most

    async def begin(self, tenant_id: str, username: str) -> None:
        """Refuse an attempt that comes too early after many failures.

        Raises:
            ResourceExhausted: wait for as long as it says.
        """
        name = _name(tenant_id, username)
        try:
            with typed_errors():
                failed = int(await self._redis.get(_PREFIX + name) or 0)
                if failed < self._most or await self._redis.set(_PAUSED + name, 1, ex=PAUSE_SECONDS, nx=True):
                    return
                seconds = await self._redis.ttl(_PAUSED + name)
        except errors.Unavailable as error:
            log.warning("failed logins are not counted", error=error.message)
            return
        raise errors.ResourceExhausted(
            f"there were {failed} failed logins of this user; try again in {max(seconds, 1)} seconds",
            reason=reasons.TOO_MANY_ATTEMPTS,
            retry_after=float(max(seconds, 1)),
        )

    async def failed(self, tenant_id: str, username: str) -> None:
        """Count a failure."""
        key = _PREFIX + _name(tenant_id, username)
        try:
            with typed_errors():
                pipeline = self._redis.pipeline()
                pipeline.incr(key)
                pipeline.expire(key, WINDOW_SECONDS)
                await pipeline.execute()
        except errors.Unavailable as error:
            log.warning("failed logins are not counted", error=error.message)

    async def succeeded(self, tenant_id: str, username: str) -> None:
        """Forget the failures."""
        name = _name(tenant_id, username)
        try:
            with typed_errors():
                await self._redis.delete(_PREFIX + name, _PAUSED + name)
        except errors.Unavailable as error:
            log.warning("failed logins are not forgotten yet", error=error.message)


def _name(tenant_id: str, username: str) -> str:
    return hashlib.sha256(f"{tenant_id}\0{username.lower()}".encode()).hexdigest()
