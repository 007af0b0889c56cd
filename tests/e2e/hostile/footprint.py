"""What a stack holds: calls, tasks, sockets, descriptors, memory; and whether it serves."""

import asyncio
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from services.mesh.testing.waiting import until
from tests.e2e.stack import Stack
from tests.e2e.surfaces import over_grpc, over_openai, over_rest

PARTS = ("envoy", "serve", "control")
# Connections of pools, and what waits on them; they are closed when nobody has used them for a while.
POOLED = 8
# Heaps do not give everything back to the system at once.
KEPT_MIB = 160
SECONDS = 40


@dataclass(frozen=True)
class Footprint:
    """Of the whole stack `calls` and `tasks`; of each part `sockets`, `descriptors` (sockets among them) and `mib`."""

    calls: float
    tasks: float
    sockets: Mapping[str, int]
    descriptors: Mapping[str, int]
    mib: Mapping[str, float]

    @classmethod
    async def of(cls, stack: Stack) -> "Footprint":
        """What it holds now."""
        open_files = {part: _open_files(stack.process(part).pid) for part in PARTS}
        return cls(
            await stack.measured("rpc_server_active_calls"),
            await stack.measured("soma_mesh_tasks"),
            {part: sum(name.startswith("socket:") for name in names) for part, names in open_files.items()},
            {part: len(names) for part, names in open_files.items()},
            {part: stack.process(part).memory_full_info().uss / 2**20 for part in PARTS},
        )

    def excess(self, before: "Footprint", kept_mib: float) -> dict[str, float]:
        """What there is more of than `before`, beyond what pools and heaps keep."""
        more = {"calls": self.calls - before.calls, "tasks": self.tasks - before.tasks - POOLED}
        for part in PARTS:
            more[f"{part} sockets"] = self.sockets[part] - before.sockets[part] - POOLED
            more[f"{part} descriptors"] = self.descriptors[part] - before.descriptors[part] - POOLED
            more[f"{part} MiB"] = self.mib[part] - before.mib[part] - kept_mib
        return {name: amount for name, amount in more.items() if amount > 0}

    async def restored(self, stack: Stack, kept_mib: float = KEPT_MIB) -> None:
        """Wait until the stack holds no more than this, apart from what its heaps may keep."""
        excess: dict[str, float] = {}

        async def back() -> bool:
            nonlocal excess
            excess = (await Footprint.of(stack)).excess(self, kept_mib)
            return not excess

        with suppress(TimeoutError):
            await until(back, seconds=SECONDS)
        assert not excess, excess


async def serves(stack: Stack) -> None:
    """An ordinary turn on each surface is answered."""
    async with stack.http() as http, stack.channel() as channel:
        turns = await asyncio.gather(
            over_grpc(channel, stack, "hello"), over_openai(http, "hello"), over_rest(http, "hello")
        )
    assert [turn.finished for turn in turns] == [True] * 3, turns


def peak_mib(stack: Stack, part: str) -> float:
    """The most memory a part has ever had."""
    status = Path(f"/proc/{stack.process(part).pid}/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) / 1024


def _open_files(pid: int) -> list[str]:
    names = []
    for link in Path(f"/proc/{pid}/fd").iterdir():
        # Closed since the directory was read.
        with suppress(FileNotFoundError):
            names.append(os.readlink(link))
    return names
