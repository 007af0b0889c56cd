"""Compares measurements of this revision with those of another.

Both stacks run, and the same load is put on each in turn.
"""

import asyncio
import json
import shutil
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from bench import chat, deltas, native, recall, startup, texts
from bench.comparison import Measured, Quantity, Sides
from bench.echo import load as call
from bench.echo import mesh_server
from bench.environment import FOLDER, Environment
from bench.memory import resident_bytes
from bench.programs import free_port, output, processor_seconds_of
from bench.revision import HERE, Revision
from bench.stack import Stack, cost
from bench.table import Row

SCRATCH = FOLDER / "against"
SECONDS = 5
LOCAL_CHANNEL_SECONDS = 120.0
# A program that the Python of each revision runs in its own folder, for figures inside one process.
LOCAL_CHANNEL = """
import asyncio, json, uvloop
from bench.local_channel import measure
print(json.dumps([[row.figure, row.here] for row in uvloop.run(measure(None))]))
"""


# The latency that a chat adds at one connection, as a part of that of an earlier revision: the goal for that revision.
LATENCY_GOALS = {"c036cf2": 0.75}


@dataclass(frozen=True)
class Revisions:
    """This revision and another one: their sources and Pythons, a running stack of each, and the upstream's port."""

    sources: Sides[tuple[Path, Path]]
    stacks: Sides[Stack]
    upstream: int


Figure: TypeAlias = Callable[[Revisions], Awaitable[list[Row]]]


@asynccontextmanager
async def beside(environment: Environment, revision: Revision, rounds: int) -> AsyncIterator[Revisions]:
    """Run both stacks during a block, each on a new data directory.

    Raises:
        RuntimeError: the other revision cannot be set up, or a stack did not start.
        TimeoutError: the setup took too long.
    """
    print(f"setting up {revision.short}", flush=True)
    await revision.set_up(HERE)
    pythons = (Path(sys.executable), revision.python)
    upstream = await environment.upstream()
    async with AsyncExitStack() as exits:
        stacks = []
        for folder, python in zip((SCRATCH / "here", SCRATCH / revision.short), pythons, strict=True):
            stack = Stack(folder, free_port(), upstream, python)
            # Remove the data of earlier runs, so that both stacks begin empty.
            await stack.down()
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
            exits.push_async_callback(stack.down)
            await stack.up()
            stacks.append(stack)
        yield Revisions(
            Sides((HERE, pythons[0]), (revision.source, pythons[1]), revision.short, rounds),
            Sides(stacks[0], stacks[1], revision.short, rounds),
            upstream,
        )


async def local_channel(revisions: Revisions) -> list[Row]:
    """The local channel, which only the revision's own code can measure."""
    sides = revisions.sources
    if not (sides.there[0] / "bench" / "local_channel.py").exists():
        here = await _local_channel(sides.here)
        return [
            Row(each.name, each.text(value), f"absent at {sides.name}", "", "", None) for each, value in here.items()
        ]
    return await sides.by_turns(_local_channel, warm=False)


async def _local_channel(side: tuple[Path, Path]) -> Measured:
    source, python = side
    output_text = json.loads(
        (await output([str(python), "-c", LOCAL_CHANNEL], LOCAL_CHANNEL_SECONDS, cwd=source)).splitlines()[-1]
    )
    return dict(quantity_of(figure, text) for figure, text in output_text)


def quantity_of(figure: str, text: str) -> tuple[Quantity, float]:
    """Parse the value of a row, such as `20.9 µs` or `1,173 messages/s`."""
    number, unit = text.split(maxsplit=1)
    digits = len(number.partition(".")[2])
    return Quantity(figure, unit, more=unit.endswith("/s"), digits=digits), float(number.replace(",", ""))


async def throughput(revisions: Revisions) -> list[Row]:
    """Chat completions on 32 connections."""

    async def round_(stack: Stack) -> Measured:
        before = stack.processor_seconds()
        load = await chat.load(stack.port, stack.key, seconds=SECONDS)
        return {
            Quantity("chat completions, 32 connections", "req/s", more=True): load.rate,
            Quantity("median of the same", "ms", digits=1): load.median_ms,
            **_spent("a chat completion, 32 connections", stack, before, load.requests),
        }

    return await revisions.stacks.by_turns(round_)


async def latency(revisions: Revisions) -> list[Row]:
    """Chat completions on one connection, and how much later they come than from the upstream itself."""
    goal = LATENCY_GOALS.get(revisions.stacks.name)

    async def round_(stack: Stack) -> Measured:
        alone = await chat.load(revisions.upstream, "none", connections=1, seconds=2)
        before = stack.processor_seconds()
        load = await chat.load(stack.port, stack.key, connections=1, seconds=SECONDS)
        return {
            Quantity("latency added at one connection", "ms", digits=2, at_most=goal): load.median_ms - alone.median_ms,
            Quantity("chat completion, one connection, median", "ms", digits=2): load.median_ms,
            **_spent("a chat completion, one connection", stack, before, load.requests),
        }

    return await revisions.stacks.by_turns(round_)


async def streams(revisions: Revisions) -> list[Row]:
    """Streamed chat completions on 16 connections."""

    async def round_(stack: Stack) -> Measured:
        before = stack.processor_seconds()
        reading = await deltas.read(stack.port, stack.key, SECONDS)
        return {
            Quantity("SSE deltas delivered, 16 connections × 64", "/s", more=True): reading.rate,
            Quantity("first piece of the same, median", "ms", digits=1): reading.first_ms,
            **_spent("a streamed answer of 64 deltas", stack, before, reading.answers),
        }

    return await revisions.stacks.by_turns(round_)


async def recalls(revisions: Revisions) -> list[Row]:
    """Recalls of one key over REST on 32 connections."""
    for stack in (revisions.stacks.here, revisions.stacks.there):
        await recall.remember(stack)

    async def round_(stack: Stack) -> Measured:
        before = stack.processor_seconds()
        load = await recall.load(stack.port, stack.key, SECONDS)
        return {
            Quantity("recall of one key over REST, 32 connections", "req/s", more=True): load.rate,
            Quantity("median of the same", "ms", digits=1): load.median_ms,
            **_spent("a recall", stack, before, load.requests),
        }

    return await revisions.stacks.by_turns(round_)


async def embeddings(revisions: Revisions) -> list[Row]:
    """Vectors over REST."""

    async def round_(stack: Stack) -> Measured:
        before = stack.processor_seconds()
        load = await texts.load(stack.port, stack.key, SECONDS)
        return {
            Quantity("embeddings through the contract, REST and Envoy", "texts/s", more=True): load.rate * texts.TEXTS,
            Quantity(f"median of the same, {texts.TEXTS} texts", "ms", digits=1): load.median_ms,
            **_spent("a text made into a vector", stack, before, load.requests * texts.TEXTS),
        }

    return await revisions.stacks.by_turns(round_)


async def unary(revisions: Revisions) -> list[Row]:
    """Native unary calls through the gateway, to each revision's own `soma serve testing`."""
    sides = revisions.stacks
    async with AsyncExitStack() as exits:
        echoes = {}
        for stack in (sides.here, sides.there):
            log = stack.folder.with_name(f"{stack.folder.name}.testing.log")
            echoes[stack] = await exits.enter_async_context(mesh_server(stack, log))

        async def round_(stack: Stack) -> Measured:
            pids = {"server": echoes[stack].pid, "envoy": stack.pid("envoy")}
            before = {name: processor_seconds_of(pid) for name, pid in pids.items()}
            address, connections = f"127.0.0.1:{stack.port}", native.CONNECTIONS
            answers = await call("unary", address, stack.key, connections, connections, SECONDS)
            spent = {name: processor_seconds_of(pid) - before[name] for name, pid in pids.items()}
            return {
                Quantity("native unary call through the gateway, 32 connections", "calls/s", more=True): answers.rate,
                Quantity("median of the same", "ms", digits=2): answers.median_ms,
                _processor("a native unary call"): sum(spent.values()) / answers.answers * 1000,
            }

        return await sides.by_turns(round_)


async def starts(revisions: Revisions) -> list[Row]:
    """A warm start, and the memory after a first chat and first embeddings."""

    async def round_(stack: Stack) -> Measured:
        await stack.down()
        seconds = await stack.up()
        await asyncio.to_thread(startup.first_chat, stack)
        found = {Quantity("soma up, warm, everything ready", "s", digits=2): seconds}
        if sys.platform == "linux":
            memory = Quantity("memory of all processes, chat and embeddings used", "MB")
            found[memory] = resident_bytes(stack.processes()) / 1e6
        return found

    # Both stacks were started before, so there is no warm-up round.
    return await revisions.stacks.by_turns(round_, warm=False)


def _processor(what: str) -> Quantity:
    return Quantity(f"processor time of {what}", "ms", digits=3)


def _spent(what: str, stack: Stack, before: Mapping[str, float], answers: int) -> Measured:
    """The processor time of all parts for one answer; prints the time of each part."""
    after = stack.processor_seconds()
    print(f"  processor ms of {what}, {stack.folder.name}: {cost(before, after, answers)}", flush=True)
    return {_processor(what): (sum(after.values()) - sum(before.values())) / answers * 1000}


# The same names as the figures of a single revision.
FIGURES: Mapping[str, Figure] = {
    "local-channel": local_channel,
    "chat": throughput,
    "latency": latency,
    "deltas": streams,
    "recall": recalls,
    "native": unary,
    "startup": starts,
    "texts": embeddings,
}
