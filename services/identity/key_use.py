"""When API keys were last used, written for many keys at once."""

from datetime import datetime

from services.identity.store.accounts import AccountStore
from services.mesh.process.jobs import Job

WRITE_SECONDS = 10.0


class KeyUse:
    """Remembers uses until they are written. What a process has not written when it dies is forgotten."""

    def __init__(self, accounts: AccountStore) -> None:
        self._accounts = accounts
        self._times: dict[str, datetime] = {}

    def used(self, key_id: str, time: datetime) -> None:
        """Remember a use."""
        self._times[key_id] = time

    @property
    def job(self) -> Job:
        """Writes the uses."""
        return Job("key use", self.write, every=WRITE_SECONDS, first=WRITE_SECONDS)

    async def write(self) -> None:
        """Write the uses that are remembered; they stay remembered if that fails."""
        times = self._times
        if not times:
            return
        self._times = {}
        try:
            await self._accounts.used(times)
        except BaseException:
            self._times = times | self._times
            raise
