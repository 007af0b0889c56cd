"""Messages of 100 bytes echoed on bidirectional streams; the client writes as far ahead as flow control permits."""

import statistics

from bench.echo import Answers, load, mesh_server
from bench.environment import FOLDER, Environment
from bench.programs import processor_seconds_of
from bench.table import Row

ROUNDS = 3
SECONDS = 4
# Number of streams, connections that they share, and target in messages per second for all together.
LOADS = ((1, 1, 8_000), (100, 1, 10_000))


async def measure(environment: Environment) -> list[Row]:
    """Call a process of the mesh directly; each message must come back in order, with its text."""
    stack = await environment.stack()
    rows = []
    async with mesh_server(stack, FOLDER / "testing.log") as mesh:
        await load("chat", mesh.address, stack.key, 1, 1, 1)
        for streams, connections, wanted in LOADS:
            rounds: list[Answers] = []
            before = processor_seconds_of(mesh.pid)
            for _ in range(ROUNDS):
                rounds.append(await load("chat", mesh.address, stack.key, connections, streams, SECONDS))
            spent = (processor_seconds_of(mesh.pid) - before) / sum(found.answers for found in rounds) * 1000
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
