"""Carries finished turns to memory, in order within a conversation, off the client's path and never lost.

A turn is durable before its client hears that it is finished. The next turn of the same conversation first delivers
what is pending, whichever process finished it, so it always sees the one before. What a killed process left behind is
found by the others.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import structlog

from services.mesh.call import errors
from services.mesh.process.jobs import Job
from services.orchestrator.chat.store import PendingTurn, PendingTurns

log = structlog.get_logger("orchestrator")

Append = Callable[[PendingTurn], Awaitable[None]]

_SWEEP_SECONDS = 1.0
_SWEEP_TURNS = 100
# A turn this old is not on its way any more: its process failed to deliver it, or is gone.
_LEFT_BEHIND_SECONDS = 2.0


class Delivery:
    """`append` sends one turn to memory and raises while it cannot; repeating it is harmless."""

    def __init__(self, pending: PendingTurns, append: Append) -> None:
        self._pending = pending
        self._append = append
        self._underway: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._refused = False

    async def accept(self, turn: PendingTurn) -> None:
        """Make a turn durable and start its delivery.

        Raises:
            Unavailable: the store takes none now; `settle` refuses the next turns before they cost anything.
        """
        try:
            await self._pending.put(turn)
        except errors.Unavailable:
            self._refused = True
            raise
        self._refused = False
        self._start(turn.principal.tenant_id, turn.conversation_id)

    async def settle(self, tenant_id: str, conversation_id: str) -> None:
        """Return once memory has every finished turn of a conversation, and the next one can be accepted.

        Raises:
            MeshError: memory does not take them now, or the store refused a turn and would still do so.
        """
        if self._refused:
            await self._pending.check()
            self._refused = False
        underway = self._underway.get((tenant_id, conversation_id))
        if underway is not None:
            with suppress(Exception):
                await asyncio.shield(underway)
        await self._deliver(tenant_id, conversation_id)

    @property
    def job(self) -> Job:
        """Delivers what was left behind, by this process or another."""
        return Job("delivery", self._sweep_batch, every=_SWEEP_SECONDS, longest_pause=_SWEEP_SECONDS)

    async def sweep(self, older_than: float) -> int:
        """Deliver turns that have been pending for `older_than` seconds, oldest first; how many there were.

        Processes take turns, for the sake of memory: each would deliver all of them, and repeating is harmless.
        """
        async with self._pending.left_behind(older_than, _SWEEP_TURNS) as turns:
            for turn in turns:
                await self._hand_over(turn)
        return len(turns)

    async def _sweep_batch(self) -> bool:
        return await self.sweep(_LEFT_BEHIND_SECONDS) == _SWEEP_TURNS

    async def drain(self) -> None:
        """Wait for deliveries that are under way."""
        if self._underway:
            await asyncio.wait(self._underway.values())

    def _start(self, tenant_id: str, conversation_id: str) -> None:
        key = (tenant_id, conversation_id)
        before = self._underway.get(key)
        task = asyncio.create_task(self._after(before, tenant_id, conversation_id))
        self._underway[key] = task
        task.add_done_callback(lambda done: self._ended(key, done))

    def _ended(self, key: tuple[str, str], task: asyncio.Task[None]) -> None:
        if self._underway.get(key) is task:
            del self._underway[key]
        if not task.cancelled() and (error := task.exception()) is not None:
            log.warning("a turn waits for memory", error=str(error), conversation=key[1])

    async def _after(self, before: asyncio.Task[None] | None, tenant_id: str, conversation_id: str) -> None:
        if before is not None:
            await asyncio.wait((before,))
        await self._deliver(tenant_id, conversation_id)

    async def _deliver(self, tenant_id: str, conversation_id: str) -> None:
        for turn in await self._pending.of(tenant_id, conversation_id):
            await self._hand_over(turn)

    async def _hand_over(self, turn: PendingTurn) -> None:
        try:
            await self._append(turn)
        except errors.MeshError as error:
            if error.code is not errors.Code.INVALID_ARGUMENT:
                raise
            # Memory will never take it; keeping it would hold up the conversation for good.
            log.error("memory refuses a turn", error=error.message, conversation=turn.conversation_id)
        await self._pending.done(turn.request_id)
