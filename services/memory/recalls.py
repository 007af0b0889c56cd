"""Concurrent recalls of one key share one statement: each is counted, but the row is locked and written once."""

import asyncio
from collections.abc import Sequence
from contextvars import Context
from itertools import zip_longest

from soma.errors.v1 import reasons
from soma.memory.v1 import memory_service_pb2 as pb

from services.memory.store.facts import FactStore
from services.mesh.call import errors

_Answer = asyncio.Future[pb.RecallResponse | None]


class Recalls:
    """Reads facts from a store. While one recall of a key is in progress, further ones wait, and then run together."""

    def __init__(self, store: FactStore) -> None:
        self._store = store
        self._waiting: dict[tuple[str, str], list[_Answer]] = {}
        self._running: set[asyncio.Task[None]] = set()

    async def recall(self, tenant_id: str, key: str) -> pb.RecallResponse:
        """Read a fact.

        Raises:
            NotFound: there is none, or it has expired.
        """
        fact = await self._read(tenant_id, key)
        if fact is None:
            raise errors.NotFound(
                "nothing is remembered under this key", reason=reasons.MEMORY_NOT_FOUND, metadata={"key": key}
            )
        return fact

    async def _read(self, tenant_id: str, key: str) -> pb.RecallResponse | None:
        asked = tenant_id, key
        waiting = self._waiting.get(asked)
        if waiting is not None:
            answer: _Answer = asyncio.get_running_loop().create_future()
            waiting.append(answer)
            return await answer
        self._waiting[asked] = []
        try:
            found = await self._store.recall(tenant_id, key)
        finally:
            self._go_on(asked)
        return found[0] if found else None

    def _go_on(self, asked: tuple[str, str]) -> None:
        """Run the recalls that wait for a key."""
        waiting = [answer for answer in self._waiting.pop(asked) if not answer.done()]
        if not waiting:
            return
        self._waiting[asked] = []
        # The task has an empty context, because each of the callers may be cancelled.
        task = asyncio.create_task(self._together(asked, waiting), context=Context())
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _together(self, asked: tuple[str, str], waiting: Sequence[_Answer]) -> None:
        try:
            found = await self._store.recall(*asked, times=len(waiting))
        except Exception as error:
            for answer in waiting:
                if not answer.done():
                    answer.set_exception(error)
        else:
            # The fact was found for all of them or for none.
            for answer, fact in zip_longest(waiting, found):
                if not answer.done():
                    answer.set_result(fact)
        finally:
            self._go_on(asked)
