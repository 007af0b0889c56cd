"""Answers that nobody streams: what a long one costs beside a short one, and the rate beside LiteLLM at its best."""

import os
import statistics
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack

from bench.chat import CONNECTIONS, PEER_LIMIT, load
from bench.environment import FOLDER, Environment
from bench.litellm import litellm
from bench.programs import free_port, process_tree, processor_seconds_of
from bench.stack import cost, serve_ms
from bench.table import Row
from bench.wrk import Load

ROUNDS = 3
SECONDS = 4
LONG, SHORT, MIDDLE = "instant-500", "instant", "instant-64"
LONG_LIMIT = 1.15
PROCESSORS = os.cpu_count() or 1
# How the proxy is fastest depends on the machine, so several ways are measured; more processes than processors are not
# faster. Each has its number of workers and options of its command line.
WAYS: dict[str, tuple[int, tuple[str, ...]]] = {
    "one worker": (1, ()),
    "one worker, Granian": (1, ("--run_granian",)),
    "workers for all processors": (PROCESSORS, ()),
    "workers for all processors, Granian": (PROCESSORS, ("--run_granian",)),
}


async def long_answers(environment: Environment) -> list[Row]:
    """Ask for answers of one word and of 500 tokens in turn, on 32 connections, and compare the time in serve."""
    stack = await environment.stack()
    spent: dict[str, list[float]] = {SHORT: [], LONG: []}
    for round_ in range(-1, ROUNDS):
        for model, found in spent.items():
            before = stack.processor_seconds()
            answers = (await load(stack.port, stack.key, seconds=SECONDS, model=model)).requests
            after = stack.processor_seconds()
            print(f"processor ms of {model}: {cost(before, after, answers)}")
            # The first round warms up.
            if round_ >= 0:
                found.append(serve_ms(before, after, answers))
    short, long = (statistics.median(spent[model]) for model in (SHORT, LONG))
    return [
        Row(
            "processor time of serve, a whole answer of 500 tokens",
            f"{long:.2f} ms",
            f"{short:.2f} ms one word",
            f"{long / short:.2f}×",
            f"≤ {LONG_LIMIT}×",
            long <= LONG_LIMIT * short,
        )
    ]


async def beside_the_best_peer(environment: Environment) -> list[Row]:
    """Ask for whole answers of 64 tokens here and of each way to run the peer, in turn.

    The fastest way with as many processes as this stack has counts: one each, and one for each processor.
    """
    await environment.end_litellm()
    upstream = await environment.upstream()
    here: dict[int, list[Load]] = {workers: [] for workers, _ in WAYS.values()}
    there: dict[str, list[float]] = {way: [] for way in WAYS}
    async with AsyncExitStack() as exits:
        stacks = {1: await environment.stack()}
        if PROCESSORS > 1:
            stacks[PROCESSORS] = await exits.enter_async_context(environment.stack_of(PROCESSORS))
        peers = {
            way: await exits.enter_async_context(
                litellm(FOLDER / f"litellm-{number}", free_port(), upstream, workers, *options)
            )
            for number, (way, (workers, options)) in enumerate(WAYS.items())
        }
        for round_ in range(-1, ROUNDS):
            for way, peer in peers.items():
                used = sum(processor_seconds_of(process.pid) for process in process_tree(peer.pid))
                found = await load(peer.port, peer.key, seconds=SECONDS, model=MIDDLE)
                spent = sum(processor_seconds_of(process.pid) for process in process_tree(peer.pid)) - used
                print(f"LiteLLM, {way}: {found.rate:,.0f} req/s, processor ms {spent / found.requests * 1000:.2f}")
                if round_ >= 0:
                    there[way].append(found.rate)
            for workers, stack in stacks.items():
                before = stack.processor_seconds()
                found = await load(stack.port, stack.key, seconds=SECONDS, model=MIDDLE)
                parts = cost(before, stack.processor_seconds(), found.requests)
                print(f"here, serve processes {workers}: {found.rate:,.0f} req/s, processor ms {parts}")
                if round_ >= 0:
                    here[workers].append(found)
    return [_beside(workers, loads, there) for workers, loads in here.items()]


def _beside(workers: int, here: Sequence[Load], there: Mapping[str, Sequence[float]]) -> Row:
    rates = {way: statistics.median(found) for way, found in there.items() if WAYS[way][0] == workers}
    best = max(rates, key=rates.__getitem__)
    ours = statistics.median(each.rate for each in here)
    processes = "one process each" if workers == 1 else f"{workers} processes each"
    return Row(
        f"chat completions of 64 tokens, {CONNECTIONS} connections, {processes}",
        f"{ours:,.0f} req/s (p99 {statistics.median(each.p99_ms for each in here):.0f} ms)",
        f"{rates[best]:,.0f} req/s LiteLLM at its best: {best}",
        f"{ours / rates[best]:.1f}×",
        f"≥ {PEER_LIMIT}×",
        ours >= PEER_LIMIT * rates[best],
    )
