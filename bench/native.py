"""Native unary calls through the gateway to a process of the mesh, compared with a bare gRPC server.

The bare server has the same servicer. It is also measured behind an Envoy that only forwards, to show what Envoy costs.
"""

import statistics

from bench.echo import Answers, Echo, bare_server, load, mesh_server
from bench.environment import FOLDER, Environment
from bench.plain_envoy import plain_envoy
from bench.programs import processor_seconds_of
from bench.table import Row

ROUNDS = 5
CONNECTIONS = 32
SECONDS = 4
HERE, BETWEEN, BARE = "through the gateway", "through a plain Envoy", "bare"


async def measure(environment: Environment) -> list[Row]:
    """Run rounds on all three in turn, with one connection per caller. Each answer must hold its caller's text."""
    stack = await environment.stack()
    async with (
        mesh_server(stack, FOLDER / "testing.log") as mesh,
        bare_server(FOLDER / "bare.log") as server,
        plain_envoy(server, FOLDER) as envoy,
    ):
        gateway = Echo(f"127.0.0.1:{stack.port}", stack.pid("envoy"))
        ways = {
            BARE: (server, "none", {"server": server}),
            BETWEEN: (envoy, "none", {"server": server, "envoy": envoy}),
            HERE: (gateway, stack.key, {"server": mesh, "envoy": gateway}),
        }
        answers: dict[str, list[Answers]] = {way: [] for way in ways}
        for asked, key, _ in ways.values():
            await load("unary", asked.address, key, CONNECTIONS, CONNECTIONS, 2)
        for _ in range(ROUNDS):
            for way, (asked, key, processes) in ways.items():
                answers[way].append(await _round(way, asked, key, processes))
    rates = {way: statistics.median(each.rate for each in rounds) for way, rounds in answers.items()}
    alone = f"{rates[BARE]:,.0f} calls/s bare grpc.aio, direct"
    return [
        Row(
            "native unary call through the gateway, 32 connections",
            f"{rates[HERE]:,.0f} calls/s (p99 {statistics.median(each.p99_ms for each in answers[HERE]):.0f} ms)",
            alone,
            f"{rates[HERE] / rates[BARE]:.2f}×",
            "≥ 0.7×",
            rates[HERE] >= 0.7 * rates[BARE],
        ),
        Row(
            "the same, bare server behind an Envoy that only forwards",
            f"{rates[BETWEEN]:,.0f} calls/s",
            alone,
            f"{rates[BETWEEN] / rates[BARE]:.2f}×",
            "",
            None,
        ),
    ]


async def _round(way: str, asked: Echo, key: str, processes: dict[str, Echo]) -> Answers:
    """Load a server on one path; print the processor time of a call in the processes on that path."""
    before = {name: processor_seconds_of(process.pid) for name, process in processes.items()}
    answers = await load("unary", asked.address, key, CONNECTIONS, CONNECTIONS, SECONDS)
    spent = (
        f"{name} {(processor_seconds_of(process.pid) - before[name]) / answers.answers * 1000:.2f}"
        for name, process in processes.items()
    )
    print(f"processor ms a call, {way}:", " ".join(spent))
    return answers
