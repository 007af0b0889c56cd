"""Counts of what the processes of a stack have open: calls, asyncio tasks, sockets, file descriptors."""

import os
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from services.mesh.testing.waiting import until
from tests.e2e.stack import Stack

# Room for connections of pools and their tasks, which open and close at any time.
POOL_ALLOWANCE = 8


@dataclass(frozen=True)
class Counts:
    """`calls` and `tasks` of the whole stack; `sockets` and `descriptors` of each process, by the name of its part."""

    calls: float
    tasks: float
    sockets: Mapping[str, int]
    descriptors: Mapping[str, int]

    @classmethod
    async def of(cls, stack: Stack) -> "Counts":
        """The current counts."""
        files = {part: _open_files(stack.process(part).pid) for part in mesh_parts(stack)}
        return cls(
            await stack.measured("rpc_server_active_calls"),
            await stack.measured("soma_mesh_tasks"),
            {part: sum(name.startswith("socket:") for name in names) for part, names in files.items()},
            {part: len(names) for part, names in files.items()},
        )

    def growth(self, before: "Counts") -> dict[str, float]:
        """By how much each count is larger than before, without what pools may add."""
        growth = {"calls": self.calls - before.calls, "tasks": self.tasks - before.tasks - POOL_ALLOWANCE}
        for part in self.sockets:
            growth[f"sockets of {part}"] = self.sockets[part] - before.sockets[part] - POOL_ALLOWANCE
            growth[f"descriptors of {part}"] = self.descriptors[part] - before.descriptors[part] - POOL_ALLOWANCE
        return {what: count for what, count in growth.items() if count > 0}

    async def restored(self, stack: Stack) -> None:
        """Wait until no count is larger than these."""

        async def growth() -> dict[str, float]:
            return (await Counts.of(stack)).growth(self)

        await wait_until_none(growth, seconds=30)


async def wait_until_none(growth: Callable[[], Awaitable[dict[str, float]]], seconds: float) -> None:
    """Wait until `more` returns nothing; the test fails if it still returns something after `seconds`."""
    left: dict[str, float] = {}

    async def settled() -> bool:
        nonlocal left
        left = await growth()
        return not left

    with suppress(TimeoutError):
        await until(settled, seconds=seconds)
    assert left == {}, left


def mesh_parts(stack: Stack) -> list[str]:
    """The names of the parts that are processes of the mesh, and the gateway."""
    return [part.name for part in stack.state.parts if part.name.startswith(("envoy", "serve", "control"))]


def _open_files(pid: int) -> list[str]:
    names = []
    for link in Path(f"/proc/{pid}/fd").iterdir():
        # The file may have been closed since the directory was read.
        with suppress(FileNotFoundError):
            names.append(os.readlink(link))
    return names
