"""What happened in tasks."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from soma.orchestrator.v1 import log_service_pb2 as pb

from somamesh.calls import Call, Listing, Page, Reader, Streaming, unary
from somamesh.failures import cut_off, stated
from somamesh.times import moment

Level = Literal["debug", "info", "warning", "error"]


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


@dataclass(frozen=True, slots=True)
class Tail:
    """Reads a log that has no end: one that ends was cut."""

    request_id: str

    def take(self, event: pb.TailLogsResponse) -> LogEntry | None:
        """The entry of an event, if it has one.

        Raises:
            APIError: the event says that the tail failed.
        """
        kind = event.WhichOneof("payload")
        if kind == "error":
            raise stated(event.error, self.request_id)
        return _entry(event.entry) if kind == "entry" else None

    def end(self) -> None:
        """It was cut.

        Raises:
            UnavailableError: always.
        """
        raise cut_off(self.request_id)


def list_logs(
    *,
    task: str = "",
    agent_id: str = "",
    level: Level | None = None,
    search: str = "",
    page_size: int = 0,
    timeout: float | None = None,
) -> Listing[LogEntry]:
    """What is kept of the log, newest first; pages are fetched while iterating.

    Args:
        level: of this level and more severe.
        search: what the message contains.
    """

    def page(token: str) -> Call[Page[LogEntry]]:
        request = pb.QueryLogsRequest(
            task_id=task, agent_id=agent_id, level=level or "", search=search, page_size=page_size, page_token=token
        )
        return unary(lambda mesh: mesh.logs.QueryLogs, request, _page, repeatable=True, timeout=timeout)

    return Listing(page)


def tail_logs(
    *, task: str = "", agent_id: str = "", level: Level | None = None, after: str = "", timeout: float | None = None
) -> Streaming[Reader[LogEntry]]:
    """Follow the log: a task's from its first entry, else from now on. It ends with an error, or when it is left.

    Args:
        level: of this level and more severe.
        after: goes on behind the entry of this id.
    """
    request = pb.TailLogsRequest(task_id=task, agent_id=agent_id, level=level or "", after=after)
    return Streaming(lambda mesh: mesh.logs.TailLogs, request, Tail, timeout)


def _page(response: pb.QueryLogsResponse) -> Page[LogEntry]:
    return Page([_entry(each) for each in response.logs], response.next_page_token)


def _entry(entry: pb.LogEntry) -> LogEntry:
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
