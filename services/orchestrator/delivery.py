"""Carries finished turns to memory, in order within a conversation, off the client's path and never lost.

A turn is durable before its client hears that it is finished. The next turn of the same conversation first delivers
what is pending, so it always sees the one before.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import structlog

from services.mesh import errors
from services.orchestrator.store import PendingTurn, PendingTurns

log = structlog.get_logger("orchestrator")

Append = Callable[[PendingTurn], Awaitable[None]]

_SWEEP_SECONDS = 1.0
_SWEEP_TURNS = 100


class Delivery:
    """`append` sends one turn to memory and raises while it cannot; repeating it is harmless."""

    def __init__(self, pending: PendingTurns, append: Append) -> None:
        self._pending = pending
        self._append = append
        self._underway: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._left_behind = asyncio.Event()
        # What an earlier process could not deliver is delivered first.
        self._left_behind.set()

    async def accept(self, turn: PendingTurn) -> None:
        """Make a turn durable and start its delivery."""
        await self._pending.put(turn)
        self._start(turn.principal.tenant_id, turn.conversation_id)

    async def settle(self, tenant_id: str, conversation_id: str) -> None:
        """Return once memory has every finished turn of a conversation.

        Raises:
            MeshError: memory does not take them now.
        """
        underway = self._underway.get((tenant_id, conversation_id))
        if underway is not None:
            with suppress(Exception):
                await asyncio.shield(underway)
        if self._left_behind.is_set():
            await self._deliver(tenant_id, conversation_id)

    async def run(self) -> None:
        """Deliver what was left behind, for ever."""
        while True:
            await self._left_behind.wait()
            try:
                await self._sweep()
            except Exception as error:
                log.warning("turns wait for memory", error=str(error))
                await asyncio.sleep(_SWEEP_SECONDS)

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
        if task.cancelled() or task.exception() is not None:
            self._left_behind.set()

    async def _after(self, before: asyncio.Task[None] | None, tenant_id: str, conversation_id: str) -> None:
        if before is not None:
            await asyncio.wait((before,))
        await self._deliver(tenant_id, conversation_id)

    async def _deliver(self, tenant_id: str, conversation_id: str) -> None:
        for turn in await self._pending.of(tenant_id, conversation_id):
            await self._hand_over(turn)

    async def _sweep(self) -> None:
        while turns := await self._pending.oldest(_SWEEP_TURNS):
            for turn in turns:
                await self._hand_over(turn)
        self._left_behind.clear()

    async def _hand_over(self, turn: PendingTurn) -> None:
        try:
            await self._append(turn)
        except errors.MeshError as error:
            if error.code is not errors.Code.INVALID_ARGUMENT:
                raise
            # Memory will never take it; keeping it would hold up the conversation for good.
            log.error("memory refuses a turn", error=error.message, conversation=turn.conversation_id)
        await self._pending.done(turn.request_id)
