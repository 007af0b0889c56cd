"""The keys that sign tokens, in Postgres."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from services.identity.signing_keys import StoredKey

if TYPE_CHECKING:
    from services.mesh.stores.postgres import SystemPool

LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('soma.identity.signing_key', 0))"
ALL = """
    SELECT key_id, public_key, private_key, sign_time, retire_time FROM identity.signing_key
    WHERE retire_time IS NULL OR retire_time > now() ORDER BY sign_time
"""
ADD = """
    INSERT INTO identity.signing_key (key_id, public_key, private_key, sign_time) VALUES ($1, $2, $3, $4)
"""
# The older keys sign until the new one does, and their last token lives this long after that.
RETIRE = """
    UPDATE identity.signing_key SET retire_time = $1::timestamptz + $2::interval
    WHERE retire_time IS NULL AND key_id <> $3
"""
SWEEP = "DELETE FROM identity.signing_key WHERE retire_time < now() - interval '1 day'"


class SigningKeyStore:
    """Keeps signing keys; one process at a time makes the next one."""

    def __init__(self, pool: "SystemPool") -> None:
        self._pool = pool

    async def renewed(
        self,
        due: Callable[[Sequence[StoredKey]], datetime | None],
        make: Callable[[datetime], StoredKey],
        lasts: timedelta,
    ) -> Sequence[StoredKey]:
        """All valid keys, after the next one was made if it is due.

        Args:
            due: when the next key is to begin to sign, if it has to be made now.
            make: makes it.
            lasts: how long a token may be valid that an older key signs last.
        """
        async with self._pool.connection() as connection:
            keys = [StoredKey(**row) for row in await connection.fetch(ALL)]
        if due(keys) is None:
            return keys
        async with self._pool.transaction() as connection:
            await connection.execute(LOCK)
            keys = [StoredKey(**row) for row in await connection.fetch(ALL)]
            sign_time = due(keys)
            if sign_time is not None:
                key = make(sign_time)
                await connection.execute(ADD, key.key_id, key.public_key, key.private_key, key.sign_time)
                await connection.execute(RETIRE, sign_time, lasts, key.key_id)
                await connection.execute(SWEEP)
                keys = [StoredKey(**row) for row in await connection.fetch(ALL)]
        return keys
