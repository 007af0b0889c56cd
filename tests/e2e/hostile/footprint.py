"""The counts and the memory of a stack, and a check that it works."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.counts import Counts, mesh_parts, wait_until_none
from tests.e2e.stack import Stack
from tests.e2e.surfaces import over_grpc, over_openai, over_rest

# Heaps do not return all memory to the system at once.
KEPT_MIB = 160


@dataclass(frozen=True)
class Footprint:
    """The counts of a stack, and the memory of each part in MiB."""

    counts: Counts
    mib: Mapping[str, float]

    @classmethod
    async def of(cls, stack: Stack) -> "Footprint":
        """The current footprint of a stack."""
        mib = {part: stack.process(part).memory_full_info().uss / 2**20 for part in mesh_parts(stack)}
        return cls(await Counts.of(stack), mib)

    def growth(self, before: "Footprint", kept_mib: float) -> dict[str, float]:
        """By how much each value is larger than before, without what pools and heaps may keep."""
        grown = {f"MiB of {part}": mib - before.mib[part] - kept_mib for part, mib in self.mib.items()}
        return self.counts.growth(before.counts) | {what: mib for what, mib in grown.items() if mib > 0}

    def grown_mib(self, before: "Footprint") -> float:
        """Growth of memory since before, all parts together, in MiB."""
        return sum(mib - before.mib[part] for part, mib in self.mib.items())

    async def restored(self, stack: Stack, kept_mib: float = KEPT_MIB) -> None:
        """Wait until the stack holds no more than this, without what its heaps may keep."""

        async def growth() -> dict[str, float]:
            return (await Footprint.of(stack)).growth(self, kept_mib)

        await wait_until_none(growth, seconds=40)


async def serves(stack: Stack) -> None:
    """Check that an ordinary turn on each surface is answered."""
    async with stack.http() as http, stack.channel() as channel:
        turns = await asyncio.gather(
            over_grpc(channel, stack, "hello"), over_openai(http, "hello"), over_rest(http, "hello")
        )
    assert [turn.finished for turn in turns] == [True] * 3, turns


def peak_mib(stack: Stack, part: str) -> float:
    """The peak memory of a part since its start, in MiB."""
    status = Path(f"/proc/{stack.process(part).pid}/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) / 1024
