"""Log entries of tasks."""

from dataclasses import dataclass
from datetime import datetime

from soma.orchestrator.v1 import log_service_pb2 as pb

from somamesh.times import moment


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One entry of the log.

    Attributes:
        id: position in the log, to continue from; see `tail_logs`.
        task: id of a session, or of a turn without a session.
        task_status: the new status of the task; empty when it did not change.
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


def from_log_entry(entry: pb.LogEntry) -> LogEntry:
    """Convert an entry of the log."""
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
