"""The signing keys of this process: read from the database again and again, and made when the next one is due."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import structlog

from services.identity.signing_keys import KeyWrap, SigningKey, StoredKey, due
from services.identity.store.keys import SigningKeyStore
from services.mesh.process.jobs import Job

log = structlog.get_logger("identity")

READ_SECONDS = 60.0


class KeyRing:
    """Holds the keys; `start` reads them for the first time."""

    def __init__(self, store: SigningKeyStore, wrap: KeyWrap, every: timedelta, lasts: timedelta) -> None:
        self._store = store
        self._wrap = wrap
        self._every = every
        self._lasts = lasts
        self._keys: tuple[SigningKey, ...] = ()

    def keys(self) -> Sequence[SigningKey]:
        """The keys, oldest first."""
        return self._keys

    async def start(self) -> None:
        """Read the keys, and make the first one.

        Raises:
            Unavailable: Postgres cannot be reached.
            FailedPrecondition: the keys were made with another internal key.
        """
        await self._read()

    @property
    def job(self) -> Job:
        """Reads the keys that other processes made, and makes the next one when it is due."""
        return Job("signing keys", self._read, every=READ_SECONDS, first=READ_SECONDS)

    async def _read(self) -> None:
        stored = await self._store.renewed(self._due, self._wrap.make, self._lasts)
        known = {key.key_id: key for key in self._keys}
        self._keys = tuple(self._opened(each, known.get(each.key_id)) for each in stored)

    def _opened(self, stored: StoredKey, known: SigningKey | None) -> SigningKey:
        if known is not None and known.retire_time == stored.retire_time:
            return known
        return self._wrap.open(stored)

    def _due(self, keys: Sequence[StoredKey]) -> datetime | None:
        return due([key.sign_time for key in keys], datetime.now(UTC), self._every)
