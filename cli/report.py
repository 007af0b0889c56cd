"""The state of a stack as other processes see it: its own state file, and the memory of its processes."""

from dataclasses import asdict
from typing import Any

import psutil

from cli.data_dir import DataDir
from cli.state import StackState, running
from cli.table import aligned
from services.mesh.call.credential import trimmed
from services.mesh.call.errors import FailedPrecondition


def memory(pid: int, alone: bool) -> tuple[int | None, int | None]:
    """The memory of a process and, unless `alone`, its children, in bytes: RSS, and PSS if the system has it.

    RSS counts a shared page in full for each process; PSS divides it among them.
    """
    try:
        process = psutil.Process(pid)
        family = [process] if alone else [process, *process.children(recursive=True)]
        rss = sum(member.memory_info().rss for member in family)
        details = [member.memory_full_info() for member in family]
        return rss, sum(detail.pss for detail in details) if hasattr(details[0], "pss") else None
    except psutil.NoSuchProcess:
        return None, None
    except psutil.AccessDenied:
        return rss, None


def report(directory: DataDir) -> dict[str, Any]:
    """The report of the stack on a data directory, as `soma status --json` prints it."""
    try:
        stack = running(directory)
    except FailedPrecondition as error:
        return {
            "running": True,
            "state": "unknown",
            "url": None,
            "api_key": None,
            "pid": None,
            "data_dir": str(directory.root),
            "failure": error.message,
            "parts": [],
        }
    if stack is None:
        last = StackState.read(directory.state)
        failure = last.failure.message if last is not None and last.failure is not None else None
        return {"running": False, "state": "stopped", "data_dir": str(directory.root), "failure": failure, "parts": []}
    parts = []
    for part in stack.parts:
        # The control process is the parent of every other part.
        rss, pss = memory(part.pid, alone=part.pid == stack.pid) if part.pid is not None else (None, None)
        parts.append({**asdict(part), "rss_bytes": rss, "pss_bytes": pss})
    return {
        "running": True,
        "state": stack.state,
        "url": stack.url,
        "api_key": trimmed(directory.dev_key.read_text("utf-8", "replace")) if directory.dev_key.exists() else None,
        "pid": stack.pid,
        "data_dir": str(directory.root),
        "parts": parts,
    }


def table(found: dict[str, Any]) -> str:
    """A report as a table."""
    if not found["running"]:
        why = f" The last one did not start: {found['failure']}" if found["failure"] else ""
        return f"No stack runs on {found['data_dir']}.{why}"
    if found["state"] == "unknown":
        return str(found["failure"])
    rows = [("part", "state", "pid", "version", "memory", "where")]
    for part in found["parts"]:
        size = part["pss_bytes"] or part["rss_bytes"]
        used = f"{size / 2**20:.0f} MB" if size else "-"
        rows.append(
            (part["name"], part["state"], str(part["pid"] or "-"), part["version"] or "-", used, part["where"] or "-")
        )
    notes = [f"{part['name']}: {part['reason']}" for part in found["parts"] if part["reason"]]
    head = [f"{found['url']}  {found['state']}", *([f"key {found['api_key']}"] if found["api_key"] else [])]
    return "\n".join([*head, "", *aligned(rows), *notes])
