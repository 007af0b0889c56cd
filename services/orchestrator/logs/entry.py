"""The entries of a log: their task, their severity, and the filter of a reader."""

import time
from collections.abc import Mapping
from dataclasses import dataclass

from soma.orchestrator.v1 import log_service_pb2 as pb

SEVERITY = {"debug": 10, "info": 20, "warning": 30, "error": 40}

CHAT, SESSION = "chat", "session"
RUNNING, COMPLETED, FAILED, CANCELLED = "running", "completed", "failed", "cancelled"


@dataclass(frozen=True, slots=True)
class Task:
    """The task of an entry: a session, or a turn outside of sessions; `source` says which of the two."""

    task_id: str
    source: str
    agent_id: str = ""


@dataclass(frozen=True, slots=True)
class EntryFilter:
    """Selects entries; an empty field matches all."""

    task_id: str = ""
    agent_id: str = ""
    level: str = ""
    search: str = ""

    def matches(self, entry: pb.LogEntry) -> bool:
        """Whether an entry matches all fields."""
        return (
            (not self.task_id or entry.task_id == self.task_id)
            and (not self.agent_id or entry.agent_id == self.agent_id)
            and (not self.level or SEVERITY[entry.level] >= SEVERITY[self.level])
            and (not self.search or self.search.casefold() in entry.message.casefold())
        )


def new_entry(
    task: Task, level: str, message: str, attributes: Mapping[str, str], task_status: str = ""
) -> pb.LogEntry:
    """An entry with the time of now; the log gives it an id."""
    entry = pb.LogEntry(
        level=level,
        message=message,
        agent_id=task.agent_id,
        task_id=task.task_id,
        source=task.source,
        task_status=task_status,
        attributes=attributes,
    )
    # This takes a tenth of the time of `GetCurrentTime`; a turn writes four entries.
    entry.timestamp.seconds, entry.timestamp.nanos = divmod(time.time_ns(), 10**9)
    return entry
