"""Delivers finished turns to memory, in order within a conversation, without delay for the client and without loss.

A turn is stored before its client gets the last event. The next turn of the same conversation first delivers the
pending turns, whichever process stored them, so memory has the turn before it. A job delivers the turns that a killed
process left behind.
"""

import asyncio
from contextlib import suppress

import structlog
from soma.memory.v1.memory_service_pb2 import AppendMessagesRequest

from services.mesh.call import errors
from services.mesh.call.call import run_as
from services.mesh.process.jobs import Job
from services.orchestrator.adapters.memory import Memory
from services.orchestrator.chat.store import PendingTurn, PostgresPendingTurns

log = structlog.get_logger("orchestrator")

_APPEND_SECONDS = 10.0
_SWEEP_SECONDS = 1.0
_SWEEP_TURNS = 100
# A turn that is pending for this long was left behind: its process could not deliver it, or has ended.
_LEFT_BEHIND_SECONDS = 2.0
# What acts for the principal of a turn. It may act after the principal was revoked: the turn was answered before.
_ACTOR = "delivery"
# Memory does not take the turn, or does not have bytes that the turn refers to.
_REFUSALS = (errors.Code.INVALID_ARGUMENT, errors.Code.NOT_FOUND)


class Delivery:
    """Delivers each turn for the principal that took it; a second delivery of the same turn changes nothing."""

    def __init__(self, pending: PostgresPendingTurns, memory: Memory) -> None:
        self._pending = pending
        self._memory = memory
        self._in_progress: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._refused = False

    async def accept(self, turn: PendingTurn) -> None:
        """Store a turn and start its delivery.

        Raises:
            Unavailable: the turn could not be stored; until that works, `settle` fails before a model is asked.
        """
        try:
            await self._pending.put(turn)
        except errors.Unavailable:
            self._refused = True
            raise
        self._refused = False
        self._start(turn.principal.tenant_id, turn.conversation_id)

    async def settle(self, tenant_id: str, conversation_id: str) -> None:
        """Return once memory has every finished turn of a conversation and the next turn can be stored.

        Raises:
            MeshError: memory refuses the turns or is away, or turns still cannot be stored.
        """
        if self._refused:
            await self._pending.check()
            self._refused = False
        in_progress = self._in_progress.get((tenant_id, conversation_id))
        if in_progress is not None:
            with suppress(Exception):
                await asyncio.shield(in_progress)
        await self._deliver(tenant_id, conversation_id)

    @property
    def job(self) -> Job:
        """Delivers the turns that this process or another left behind."""
        return Job("delivery", self._sweep_batch, every=_SWEEP_SECONDS, longest_pause=_SWEEP_SECONDS)

    async def sweep(self, older_than: float) -> int:
        """Deliver turns that have been pending for `older_than` seconds, oldest first; returns their number.

        One process at a time does this, only to spare memory from receiving the same turns several times.
        """
        async with self._pending.left_behind(older_than, _SWEEP_TURNS) as turns:
            for turn in turns:
                await self._hand_over(turn)
        return len(turns)

    async def _sweep_batch(self) -> bool:
        return await self.sweep(_LEFT_BEHIND_SECONDS) == _SWEEP_TURNS

    async def drain(self) -> None:
        """Wait for the deliveries in progress."""
        if self._in_progress:
            await asyncio.wait(self._in_progress.values())

    def _start(self, tenant_id: str, conversation_id: str) -> None:
        key = (tenant_id, conversation_id)
        before = self._in_progress.get(key)
        task = asyncio.create_task(self._deliver_after(before, tenant_id, conversation_id))
        self._in_progress[key] = task
        task.add_done_callback(lambda done: self._end(key, done))

    def _end(self, key: tuple[str, str], task: asyncio.Task[None]) -> None:
        if self._in_progress.get(key) is task:
            del self._in_progress[key]
        if not task.cancelled() and (error := task.exception()) is not None:
            log.warning("a turn waits for memory", error=str(error), conversation=key[1])

    async def _deliver_after(self, before: asyncio.Task[None] | None, tenant_id: str, conversation_id: str) -> None:
        if before is not None:
            await asyncio.wait((before,))
        await self._deliver(tenant_id, conversation_id)

    async def _deliver(self, tenant_id: str, conversation_id: str) -> None:
        for turn in await self._pending.of(tenant_id, conversation_id):
            await self._hand_over(turn)

    async def _hand_over(self, turn: PendingTurn) -> None:
        try:
            with run_as(turn.principal.delegated(_ACTOR), timeout=_APPEND_SECONDS, inside=True):
                await self._memory.append(AppendMessagesRequest.FromString(turn.request))
        except errors.MeshError as error:
            if error.code not in _REFUSALS:
                raise
            # Memory will refuse this turn each time, and it would block its conversation for ever.
            log.error("memory refuses a turn", error=error.message, conversation=turn.conversation_id)
        await self._pending.done(turn)
