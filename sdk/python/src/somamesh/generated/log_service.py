"""Builds the calls of LogService; generated from soma/orchestrator/v1/log_service.proto."""

from typing import Literal

from soma.orchestrator.v1 import log_service_pb2 as pb

from somamesh import logs
from somamesh.calls import Call, Listing, Page, Reader, Streaming, unary
from somamesh.events import events


def list_logs(
    *,
    task: str = "",
    agent_id: str = "",
    level: Literal["debug", "info", "warning", "error"] | None = None,
    search: str = "",
    page_size: int = 0,
    timeout: float | None = None,
) -> Listing[logs.LogEntry]:
    """Reads the entries that are kept. A task without entries, or an unknown one, has an empty log. Pages are
    fetched while iterating.

    The newest come first.

    Args:
        task: Only entries of this task.
        agent_id: Only entries of this agent.
        level: Only entries of this level or a more severe one: `debug`, `info`, `warning` or `error`.
        search: Only entries whose message contains this text. Upper and lower case count as the same.
        page_size: Most entries in a page; 50 when 0.
    """

    def read(response: pb.QueryLogsResponse) -> Page[logs.LogEntry]:
        return Page([logs.from_log_entry(each) for each in response.logs], response.next_page_token)

    def page(token: str) -> Call[Page[logs.LogEntry]]:
        request = pb.QueryLogsRequest(
            task_id=task, agent_id=agent_id, level=level or "", search=search, page_size=page_size, page_token=token
        )
        return unary(lambda mesh: mesh.log_service.QueryLogs, request, read, repeatable=True, timeout=timeout)

    return Listing(page)


def tail_logs(
    *,
    task: str = "",
    agent_id: str = "",
    level: Literal["debug", "info", "warning", "error"] | None = None,
    after: str = "",
    timeout: float | None = None,
) -> Streaming[Reader[logs.LogEntry]]:
    """Follows a log: it sends each new entry as it is written.

    The stream ends with an error, or when it is closed.

    Args:
        task: Only entries of this task, beginning with the first one that is kept. Without a task, only entries
            from now on.
        agent_id: Only entries of this agent.
        level: Only entries of this level or a more severe one: `debug`, `info`, `warning` or `error`.
        after: Continues after the entry with this id. Send the `id` of the last entry received or, before the
            first entry, the `after` of the event `started`.
    """
    request = pb.TailLogsRequest(task_id=task, agent_id=agent_id, level=level or "", after=after)
    return Streaming(
        lambda mesh: mesh.log_service.TailLogs,
        request,
        events(logs.from_log_entry, item="entry", has_final_event=True),
        timeout,
    )
