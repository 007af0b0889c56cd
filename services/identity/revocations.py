"""Follows revocations: every process that keeps principals does, so that it asks again."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from soma.identity.v1.auth_service_pb2 import Revocation, WatchRevocationsResponse
from soma.mesh.v1.stream_pb2 import Heartbeat

from services.identity.store.revocations import RevocationStore
from services.mesh.watching.rows import Found, RowSequences
from services.mesh.watching.watch import follow

NAME = "revocations"
_SILENCE_SECONDS = 5.0
_AT_ONCE = 1000


class Revocations:
    """Tells watchers what is revoked, in any process."""

    def __init__(self, store: RevocationStore, sequences: RowSequences) -> None:
        self._store = store
        self._sequences = sequences

    def changed(self) -> None:
        """Have all watchers look; call it after the commit of a revocation."""
        self._sequences.appended(NAME)

    async def watch(self, after: int | None) -> AsyncGenerator[WatchRevocationsResponse, None]:
        """The revocations after a number, or from now on, without end.

        Raises:
            Unavailable: Postgres cannot be reached.
        """
        began_after = await self._store.newest() if after is None else after

        async def read(place: int) -> Found[Revocation]:
            found = await self._store.after(place, _AT_ONCE)
            return Found(found, found[-1].sequence if found else place)

        yield WatchRevocationsResponse(began_after=began_after)
        sequence = 1
        with self._sequences.watch(NAME, began_after, read) as watch:
            async with aclosing(follow(watch, _SILENCE_SECONDS)) as revocations:
                async for revocation in revocations:
                    if revocation is None:
                        yield WatchRevocationsResponse(sequence=sequence, heartbeat=Heartbeat())
                    else:
                        yield WatchRevocationsResponse(sequence=sequence, revocation=revocation)
                    sequence += 1
