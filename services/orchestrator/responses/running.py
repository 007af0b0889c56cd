"""The kept responses this process is making: it says that they live, and hears when one is not wanted any more."""

import asyncio

from soma.errors.v1 import reasons

from services.mesh.call import errors
from services.mesh.process.jobs import Job
from services.orchestrator.responses.making import Making
from services.orchestrator.responses.store import ResponseStore

_LOOK_SECONDS = 1.0


class Running:
    """Makings by the id of their response."""

    def __init__(self, store: ResponseStore) -> None:
        self._store = store
        self._makings: dict[str, Making] = {}

    def add(self, response_id: str, making: Making) -> None:
        """Watch over a making until it ends."""
        self._makings[response_id] = making
        making.task.add_done_callback(lambda _: self._makings.pop(response_id, None))

    def cancel(self, response_id: str) -> None:
        """End a making, if it is here; elsewhere its process finds out by itself."""
        making = self._makings.get(response_id)
        if making is not None:
            making.stop(errors.Cancelled("the response was cancelled"))

    @property
    def job(self) -> Job:
        """Looks which makings are still wanted."""
        return Job("responses", self.look, every=_LOOK_SECONDS, longest_pause=_LOOK_SECONDS)

    async def finished(self) -> None:
        """Return once nothing is being made here."""
        while self._makings:
            await asyncio.wait([making.task for making in self._makings.values()])

    async def close(self) -> None:
        """End all that is being made here: this process stops."""
        why = errors.Unavailable("the process that made this response stopped", reason=reasons.INTERRUPTED)
        tasks = [making.task for making in self._makings.values()]
        for making in list(self._makings.values()):
            making.stop(why)
        if tasks:
            await asyncio.wait(tasks)

    async def look(self) -> None:
        """Look once: say that these live, and end what was cancelled or deleted meanwhile.

        Raises:
            Unavailable: the store cannot be asked; all are made on.
        """
        # One that waits for its first sign has no row yet, and one that ended is not cancelled by that.
        ids = [response_id for response_id, making in self._makings.items() if making.begun]
        if not ids:
            return
        wanted = await self._store.still_wanted(ids)
        for response_id in ids:
            if response_id not in wanted:
                self.cancel(response_id)
