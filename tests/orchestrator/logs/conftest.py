"""Logs on real Redis: written beside the orchestrator, as another process of it would, and read by its callers."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
import redis.asyncio as aioredis
from soma.orchestrator.v1 import log_service_pb2 as pb

from services.orchestrator.logs.entry import CHAT, SESSION, Task, new_entry
from services.orchestrator.logs.store import Bounds, RedisLogStore
from tests.orchestrator.conftest import Fakes, serving

if TYPE_CHECKING:
    from soma.orchestrator.v1.log_service_pb2_grpc import LogServiceAsyncStub

    from tests.databases import OwnedDatabase

BOUNDS = Bounds(entries=1000, entries_per_task=100, tasks=5, seconds=3600)


@dataclass
class Desk:
    """A log store, and the service's stub."""

    store: RedisLogStore
    stub: "LogServiceAsyncStub"

    async def write(self, *messages: str, task: str = "t-1", tenant: str = "acme", **fields: str) -> None:
        """Add entries of a task."""
        about = Task(task, fields.get("source", SESSION), fields.get("agent_id", ""))
        level = fields.get("level", "info")
        await self.store.append(tenant, [new_entry(about, level, message, {}) for message in messages])


@pytest.fixture
async def desk(database: "OwnedDatabase", redis: aioredis.Redis, fakes: Fakes) -> AsyncIterator[Desk]:
    """Logs whose tails show life every 0.2 seconds."""
    async with serving(database, redis, fakes, heartbeat_interval=0.2) as orchestrator:
        yield Desk(RedisLogStore(redis, BOUNDS), orchestrator.logs)


def messages(entries: list[pb.LogEntry]) -> list[str]:
    """What entries say."""
    return [entry.message for entry in entries]


def chat(number: int) -> dict[str, str]:
    """A turn outside of sessions."""
    return {"task": f"c-{number}", "source": CHAT}
