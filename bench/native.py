"""Native unary calls through the gateway to a process of the mesh, beside the same servicer on a bare gRPC server."""

import statistics

from bench.echo import Answers, Echo, bare, load, meshed
from bench.programs import used
from bench.stack import Stack
from bench.table import Row
from bench.workplace import FOLDER, Workplace

ROUNDS = 5
CONNECTIONS = 32
SECONDS = 4


async def measure(place: Workplace) -> list[Row]:
    """Rounds on both by turns, on as many connections as callers; each answer holds what its caller sent."""
    stack = await place.stack()
    async with meshed(stack, FOLDER / "testing.log") as mesh, bare(FOLDER / "bare.log") as plain:
        await load("unary", plain.address, "none", CONNECTIONS, CONNECTIONS, 2)
        await load("unary", f"127.0.0.1:{stack.port}", stack.key, CONNECTIONS, CONNECTIONS, 2)
        here: list[Answers] = []
        there: list[Answers] = []
        for _ in range(ROUNDS):
            alone = await _round(plain)
            through = await _round(mesh, stack)
            there.append(alone)
            here.append(through)
    ours, theirs = (statistics.median(answers.rate for answers in rounds) for rounds in (here, there))
    return [
        Row(
            "native unary call through the gateway, 32 connections",
            f"{ours:,.0f} calls/s (p99 {statistics.median(answers.p99_ms for answers in here):.0f} ms)",
            f"{theirs:,.0f} calls/s bare grpc.aio, direct",
            f"{ours / theirs:.2f}×",
            "≥ 0.7×",
            ours >= 0.7 * theirs,
        )
    ]


async def _round(server: Echo, stack: Stack | None = None) -> Answers:
    """Load a server, through the gateway where there is a stack; prints what a call cost."""
    address, key = (f"127.0.0.1:{stack.port}", stack.key) if stack is not None else (server.address, "none")
    processes = {"server": server.pid, **({"envoy": stack.pid("envoy")} if stack is not None else {})}
    before = {name: used(pid) for name, pid in processes.items()}
    answers = await load("unary", address, key, CONNECTIONS, CONNECTIONS, SECONDS)
    spent = (f"{name} {(used(pid) - before[name]) / answers.answers * 1000:.2f}" for name, pid in processes.items())
    print(f"processor ms a call, {'through the gateway' if stack is not None else 'bare'}:", " ".join(spent))
    return answers
