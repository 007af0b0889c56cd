"""What says the calls of LogService; generated from soma/orchestrator/v1/log_service.proto."""

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
    """Reads what is kept; nothing is known of a task that wrote nothing. Pages are fetched while iterating.

    The newest come first.

    Args:
        task: Only of this task.
        agent_id: Only of this agent.
        level: Only of this level and more severe ones: `debug`, `info`, `warning` or `error`.
        search: Only those whose message contains this, in upper or lower case.
        page_size: Entries a page; 50 when 0.
    """

    def read(response: pb.QueryLogsResponse) -> Page[logs.LogEntry]:
        return Page([logs.logged(each) for each in response.logs], response.next_page_token)

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
    """Follows what happens.

    It ends with an error, or when it is left.

    Args:
        task: Only of this task, from its first entry that is kept; without a task, only what happens from now on.
        agent_id: Only of this agent.
        level: Only of this level and more severe ones: `debug`, `info`, `warning` or `error`.
        after: Goes on behind the entry of this id: `id` of the last entry seen, or `after` of `started` before
            the first one.
    """
    request = pb.TailLogsRequest(task_id=task, agent_id=agent_id, level=level or "", after=after)
    return Streaming(
        lambda mesh: mesh.log_service.TailLogs, request, events(logs.logged, item="entry", says_its_end=True), timeout
    )
