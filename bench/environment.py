"""The environment of the figures: one upstream, one stack and one peer, each started when it is first needed."""

import json
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Self

from bench.litellm import LiteLlm, litellm
from bench.programs import free_port, running
from bench.stack import Stack
from cli.parts.part import Launch
from services.mesh.limits.settings import LimitSettings, Tier

FOLDER = Path(__file__).parents[1] / ".bench"
COUNTED = "bench"
"""A tier of rate limits that are too high to refuse a request, but are counted."""
TIERS = {**LimitSettings().tiers, COUNTED: Tier(key=1_000_000, tenant=10_000_000)}


class Environment:
    """Starts the programs that the figures need, and stops them at the end. A soak takes `soak_minutes`."""

    def __init__(self, soak_minutes: int = 0) -> None:
        self.soak_minutes = soak_minutes
        self._exits = AsyncExitStack()
        self._upstream: int | None = None
        self._stack: Stack | None = None
        self._peer = AsyncExitStack()
        self._litellm: LiteLlm | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.end_litellm()
        await self._exits.aclose()

    async def upstream(self) -> int:
        """The port of the instant upstream."""
        if self._upstream is None:
            port = free_port()
            launch = Launch([sys.executable, "-m", "bench.upstream", str(port)], cwd=FOLDER.parent)
            await self._exits.enter_async_context(running(launch, FOLDER / "upstream.log", port, 30.0))
            self._upstream = port
        return self._upstream

    async def stack(self) -> Stack:
        """The stack, when every part is ready."""
        if self._stack is None:
            stack = Stack(FOLDER / "stack", free_port(), await self.upstream())
            # Stop a stack that an interrupted run left.
            await stack.down()
            self._exits.push_async_callback(stack.down)
            tiers = {name: tier.model_dump() for name, tier in TIERS.items()}
            await stack.up(SOMA_LIMITS_TIERS=json.dumps(tiers))
            self._stack = stack
        return self._stack

    @asynccontextmanager
    async def stack_of(self, workers: int) -> AsyncIterator[Stack]:
        """Another stack, with this number of serve processes, during a block."""
        stack = Stack(FOLDER / f"stack-{workers}", free_port(), await self.upstream(), workers=workers)
        await stack.down()
        try:
            await stack.up()
            yield stack
        finally:
            await stack.down()

    async def litellm(self) -> LiteLlm:
        """The peer, when it serves."""
        if self._litellm is None:
            peer = litellm(FOLDER / "litellm", free_port(), await self.upstream())
            self._litellm = await self._peer.enter_async_context(peer)
        return self._litellm

    async def end_litellm(self) -> None:
        """Stop the peer; it starts again when it is needed."""
        self._litellm = None
        await self._peer.aclose()
