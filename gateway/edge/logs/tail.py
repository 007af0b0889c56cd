"""Turns the events of LogService.TailLogs into the messages that a WebSocket client receives."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from soma.orchestrator.v1 import log_service_pb2 as pb

from gateway.edge.logs.filters import Filters
from services.mesh.call.errors import Unavailable

if TYPE_CHECKING:
    from soma.orchestrator.v1.log_service_pb2_grpc import LogServiceAsyncStub

RETRY_SECONDS = 1.0


class Tails:
    """Tails logs, and continues after the orchestrator was unavailable."""

    def __init__(self, logs: "LogServiceAsyncStub") -> None:
        self._logs = logs

    async def messages(self, filters: Filters) -> AsyncGenerator[dict[str, Any], None]:
        """The messages for a client, without end. No entry is lost while the orchestrator is unavailable.

        Raises:
            MeshError: the tail failed with a permanent error.
        """
        request = pb.TailLogsRequest(task_id=filters.task_id, agent_id=filters.agent_id, level=filters.level)
        while True:
            call = self._logs.TailLogs(request)
            try:
                with suppress(Unavailable):
                    async for event in call:
                        kind = event.WhichOneof("payload")
                        if kind == "started":
                            request.after = event.started.after
                        elif kind == "entry":
                            request.after = event.entry.id
                            for message in _messages(event.entry):
                                yield message
            finally:
                call.cancel()
            await asyncio.sleep(RETRY_SECONDS)


def _messages(entry: pb.LogEntry) -> list[dict[str, Any]]:
    data = {
        "id": entry.id,
        "timestamp": entry.timestamp.ToJsonString(),
        "level": entry.level,
        "message": entry.message,
        "agent_id": entry.agent_id or None,
        "task_id": entry.task_id,
        "source": entry.source,
        "attributes": dict(entry.attributes),
    }
    messages: list[dict[str, Any]] = [{"type": "log_entry", "data": data}]
    if entry.task_status:
        kept = {name: data[name] for name in ("task_id", "message", "timestamp")}
        messages.append({"type": "task_update", "data": {**kept, "status": entry.task_status}})
    return messages
