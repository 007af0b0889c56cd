"""What a stack holds: counts and memory; and whether it serves."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.counts import Counts, nothing, of_the_mesh
from tests.e2e.stack import Stack
from tests.e2e.surfaces import over_grpc, over_openai, over_rest

# Heaps do not give everything back to the system at once.
KEPT_MIB = 160


@dataclass(frozen=True)
class Footprint:
    """`counts`, and `mib` of memory of each part."""

    counts: Counts
    mib: Mapping[str, float]

    @classmethod
    async def of(cls, stack: Stack) -> "Footprint":
        """What it holds now."""
        mib = {part: stack.process(part).memory_full_info().uss / 2**20 for part in of_the_mesh(stack)}
        return cls(await Counts.of(stack), mib)

    def more(self, before: "Footprint", kept_mib: float) -> dict[str, float]:
        """What there is more of than before, beyond what pools and heaps keep."""
        grown = {f"MiB of {part}": mib - before.mib[part] - kept_mib for part, mib in self.mib.items()}
        return self.counts.more(before.counts) | {what: mib for what, mib in grown.items() if mib > 0}

    def grown_mib(self, before: "Footprint") -> float:
        """How much more memory than before, all parts together."""
        return sum(mib - before.mib[part] for part, mib in self.mib.items())

    async def restored(self, stack: Stack, kept_mib: float = KEPT_MIB) -> None:
        """Wait until the stack holds no more than this, apart from what its heaps may keep."""

        async def more() -> dict[str, float]:
            return (await Footprint.of(stack)).more(self, kept_mib)

        await nothing(more, seconds=40)


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
