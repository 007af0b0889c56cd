"""What the processes of a stack have in hand: calls, asyncio tasks, sockets, file descriptors."""

import os
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from services.mesh.testing.waiting import until
from tests.e2e.stack import Stack

# Connections of pools, and what waits on them: they come and go by themselves.
POOLED = 8


@dataclass(frozen=True)
class Counts:
    """Of the whole stack `calls` and `tasks`; of each process, by its part, `sockets` and `descriptors`."""

    calls: float
    tasks: float
    sockets: Mapping[str, int]
    descriptors: Mapping[str, int]

    @classmethod
    async def of(cls, stack: Stack) -> "Counts":
        """What there is now."""
        files = {part: _open_files(stack.process(part).pid) for part in of_the_mesh(stack)}
        return cls(
            await stack.measured("rpc_server_active_calls"),
            await stack.measured("soma_mesh_tasks"),
            {part: sum(name.startswith("socket:") for name in names) for part, names in files.items()},
            {part: len(names) for part, names in files.items()},
        )

    def more(self, before: "Counts") -> dict[str, float]:
        """What there is more of than before, pools aside."""
        more = {"calls": self.calls - before.calls, "tasks": self.tasks - before.tasks - POOLED}
        for part in self.sockets:
            more[f"sockets of {part}"] = self.sockets[part] - before.sockets[part] - POOLED
            more[f"descriptors of {part}"] = self.descriptors[part] - before.descriptors[part] - POOLED
        return {what: count for what, count in more.items() if count > 0}

    async def restored(self, stack: Stack) -> None:
        """Wait until there is no more of anything than this."""

        async def more() -> dict[str, float]:
            return (await Counts.of(stack)).more(self)

        await nothing(more, seconds=30)


async def nothing(more: Callable[[], Awaitable[dict[str, float]]], seconds: float) -> None:
    """Wait until there is no more of anything; what there still is after so many seconds fails the test."""
    left: dict[str, float] = {}

    async def settled() -> bool:
        nonlocal left
        left = await more()
        return not left

    with suppress(TimeoutError):
        await until(settled, seconds=seconds)
    assert left == {}, left


def of_the_mesh(stack: Stack) -> list[str]:
    """The parts that are the mesh's own processes, and its gateway."""
    return [part.name for part in stack.state.parts if part.name.startswith(("envoy", "serve", "control"))]


def _open_files(pid: int) -> list[str]:
    names = []
    for link in Path(f"/proc/{pid}/fd").iterdir():
        # One that was closed since the directory was read.
        with suppress(FileNotFoundError):
            names.append(os.readlink(link))
    return names
