"""The kept responses this process is making: it says that they live, and hears when one is not wanted any more."""

import asyncio
from time import monotonic

import structlog
from soma.errors.v1 import reasons

from services.mesh import errors
from services.orchestrator.responses.making import Making
from services.orchestrator.responses.store import ResponseStore

log = structlog.get_logger("orchestrator")

_LOOK_SECONDS = 1.0
_FORGET_SECONDS = 3600.0


class Running:
    """Makings by the id of their response."""

    def __init__(self, store: ResponseStore) -> None:
        self._store = store
        self._makings: dict[str, Making] = {}
        self._some = asyncio.Event()

    def add(self, response_id: str, making: Making) -> None:
        """Watch over a making until it ends."""
        self._makings[response_id] = making
        self._some.set()
        making.task.add_done_callback(lambda _: self._makings.pop(response_id, None))

    def cancel(self, response_id: str) -> None:
        """End a making, if it is here; elsewhere its process finds out by itself."""
        making = self._makings.get(response_id)
        if making is not None:
            making.stop(errors.Cancelled("the response was cancelled"))

    async def watch(self) -> None:
        """Look, for ever, which makings are still wanted."""
        while True:
            while self._makings:
                await asyncio.sleep(_LOOK_SECONDS)
                await self.look()
            self._some.clear()
            await self._some.wait()

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
        """Look once: say that these live, and end what was cancelled or deleted meanwhile."""
        # One that waits for its first sign has no row yet, and one that ended is not cancelled by that.
        ids = [response_id for response_id, making in self._makings.items() if making.begun]
        try:
            wanted = await self._store.still_wanted(ids)
        except errors.MeshError as error:
            log.warning("responses cannot be looked after", error=error.message)
            return
        for response_id in ids:
            if response_id not in wanted:
                self.cancel(response_id)


async def forget_old(store: ResponseStore, days: float) -> None:
    """Delete, for ever, what is older than `days`."""
    while True:
        began = monotonic()
        try:
            await store.forget(days)
        except errors.MeshError as error:
            log.warning("old responses stay", error=error.message)
        await asyncio.sleep(_FORGET_SECONDS - (monotonic() - began))
