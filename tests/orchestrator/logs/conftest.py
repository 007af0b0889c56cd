"""Logs on real Redis, and their service in a mesh of its own."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
import redis.asyncio as aioredis
from soma.orchestrator.v1 import log_service_pb2 as pb
from soma.orchestrator.v1.log_service_pb2_grpc import LogServiceStub, add_LogServiceServicer_to_server

from services.mesh.testing.jobs import running
from services.mesh.testing.local import LocalMesh
from services.mesh.watching.streams import StreamReader
from services.orchestrator.logs.entry import CHAT, SESSION, Task, new_entry
from services.orchestrator.logs.log import Logs
from services.orchestrator.logs.service import LogService
from services.orchestrator.logs.store import Bounds, RedisLogStore

if TYPE_CHECKING:
    from soma.orchestrator.v1.log_service_pb2_grpc import LogServiceAsyncStub

BOUNDS = Bounds(entries=1000, entries_per_task=100, tasks=5, seconds=3600)


@dataclass
class Desk:
    """A log store, who follows it, and the service over both."""

    store: RedisLogStore
    logs: Logs
    stub: "LogServiceAsyncStub"

    async def write(self, *messages: str, task: str = "t-1", tenant: str = "acme", **fields: str) -> None:
        """Add entries of a task."""
        about = Task(task, fields.get("source", SESSION), fields.get("agent_id", ""))
        level = fields.get("level", "info")
        await self.store.append(tenant, [new_entry(about, level, message, {}) for message in messages])


@pytest.fixture
async def desk(redis: aioredis.Redis) -> AsyncIterator[Desk]:
    """Logs whose tails show life every 0.2 seconds."""
    store = RedisLogStore(redis, BOUNDS)
    reader = StreamReader(redis)
    logs = Logs(store, reader, heartbeat_seconds=0.2)
    mesh = LocalMesh(((add_LogServiceServicer_to_server, LogService(logs)),))
    async with running(reader.job):
        yield Desk(store, logs, LogServiceStub(mesh.channel))
    await mesh.channel.close()


def messages(entries: list[pb.LogEntry]) -> list[str]:
    """What entries say."""
    return [entry.message for entry in entries]


def chat(number: int) -> dict[str, str]:
    """A turn outside of sessions."""
    return {"task": f"c-{number}", "source": CHAT}
