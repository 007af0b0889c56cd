"""What happened in tasks."""

from dataclasses import dataclass
from datetime import datetime

from soma.orchestrator.v1 import log_service_pb2 as pb

from somamesh.times import moment


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One thing that happened.

    Attributes:
        id: where to go on from, see `tail_logs`.
        task: a session, or a turn outside of sessions.
        task_status: what the task is doing from here on; empty when that is unchanged.
        attributes: facts for programs.
    """

    id: str
    at: datetime | None
    level: str
    message: str
    task: str
    agent_id: str
    source: str
    task_status: str
    attributes: dict[str, str]


def logged(entry: pb.LogEntry) -> LogEntry:
    """An entry of the log."""
    return LogEntry(
        id=entry.id,
        at=moment(entry.timestamp),
        level=entry.level,
        message=entry.message,
        task=entry.task_id,
        agent_id=entry.agent_id,
        source=entry.source,
        task_status=entry.task_status,
        attributes=dict(entry.attributes),
    )
