"""Messages of 100 bytes that come back on bidirectional streams, written as far ahead as flow control lets a client."""

import statistics

from bench.echo import Answers, load, meshed
from bench.programs import used
from bench.table import Row
from bench.workplace import FOLDER, Workplace

ROUNDS = 3
SECONDS = 4
# Streams, the connections they share, and the messages a second that are wanted of all together.
LOADS = ((1, 1, 8_000), (100, 1, 10_000))


async def measure(place: Workplace) -> list[Row]:
    """Straight to a process of the mesh; each message comes back in its turn, with its text."""
    stack = await place.stack()
    rows = []
    async with meshed(stack, FOLDER / "testing.log") as mesh:
        await load("chat", mesh.address, stack.key, 1, 1, 1)
        for streams, connections, wanted in LOADS:
            rounds: list[Answers] = []
            before = used(mesh.pid)
            for _ in range(ROUNDS):
                rounds.append(await load("chat", mesh.address, stack.key, connections, streams, SECONDS))
            spent = (used(mesh.pid) - before) / sum(found.answers for found in rounds) * 1000
            print(f"processor ms a message, {streams} streams: server {spent:.3f}")
            rate = statistics.median(found.rate for found in rounds)
            name = "messages echoed, one bidirectional stream" if streams == 1 else f"the same, {streams} streams"
            rows.append(
                Row(
                    name,
                    f"{rate:,.0f} messages/s",
                    f"{wanted:,}",
                    f"{rate / wanted:.1f}×",
                    f"≥ {wanted:,} /s",
                    rate >= wanted,
                )
            )
    return rows
