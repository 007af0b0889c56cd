"""Measures figures and prints one table; fails if a target is missed. A soak runs only when it is named."""

import argparse
import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import AsyncExitStack
from functools import partial

import uvloop

from bench import (
    against,
    bidi,
    chat,
    deltas,
    identity,
    idle,
    llm,
    local_channel,
    messages,
    native,
    pictures,
    recall,
    soak,
    startup,
    texts,
    triton,
    websocket,
    whole,
)
from bench.environment import Environment
from bench.programs import Missing, load_average
from bench.revision import HERE, Revision
from bench.table import Row, render

Figure = Callable[[Environment], Awaitable[list[Row]]]
FIGURES: dict[str, Figure] = {
    "local-channel": local_channel.measure,
    "chat": chat.throughput,
    "latency": chat.added_latency,
    "whole": whole.long_answers,
    "best-peer": whole.beside_the_best_peer,
    "messages": messages.measure,
    "deltas": deltas.measure,
    "pictures": pictures.measure,
    "recall": recall.measure,
    "native": native.measure,
    "bidi": bidi.measure,
    "identity": identity.measure,
    "idle": idle.measure,
    "socket": websocket.measure,
    "startup": startup.measure,
    "texts": texts.measure,
    "llm": llm.measure,
    "triton": triton.measure,
    "soak": soak.measure,
}
BY_NAME_ONLY = ("soak",)
# The exceptions of a figure that cannot be measured.
FAILURES = (RuntimeError, TimeoutError, Missing)


async def measure(names: list[str], soak_minutes: int) -> list[Row]:
    """Measure figures; each row compares a figure with its peer or limit."""
    async with Environment(soak_minutes) as environment:
        return await _rows({name: partial(FIGURES[name], environment) for name in names})


async def compare(names: list[str], revision: Revision, rounds: int) -> list[Row]:
    """Measure figures; each row compares a figure with another revision. If that does not start, there is one row."""
    async with AsyncExitStack() as exits:
        environment = await exits.enter_async_context(Environment())
        try:
            both = await exits.enter_async_context(against.beside(environment, revision, rounds))
        except FAILURES as error:
            return [_failed(revision.short, error)]
        return await _rows({name: partial(against.FIGURES[name], both) for name in names})


async def _rows(figures: Mapping[str, Callable[[], Awaitable[list[Row]]]]) -> list[Row]:
    """The rows of the figures. A figure that cannot be measured has a row with the reason."""
    rows: list[Row] = []
    for name, figure in figures.items():
        print(f"{name}: load average {load_average():.1f}", flush=True)
        try:
            found = await figure()
        except FAILURES as error:
            found = [_failed(name, error)]
        rows += found
        for row in found:
            print(f"  {row.figure}: {row.here} | {row.peer} | {row.ratio}", flush=True)
    return rows


def _failed(name: str, error: Exception) -> Row:
    print(f"  {error!r}" if isinstance(error, TimeoutError) else f"  {error}", file=sys.stderr)
    return Row.failed(name, error)


async def _until_told_to_stop(measuring: Awaitable[list[Row]]) -> list[Row]:
    """Measure until SIGINT or SIGTERM, which also end everything that was started."""
    task = asyncio.current_task()
    assert task is not None
    for ending in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(ending, task.cancel)
    return await measuring


def main() -> int:
    """Run the command line; return 0 if every target is met."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    default = [name for name in FIGURES if name not in BY_NAME_ONLY]
    parser.add_argument("figure", nargs="*", help=f"{', '.join(FIGURES)}; if none is named: {', '.join(default)}")
    parser.add_argument("--minutes", type=int, default=15, help=f"minutes of a soak; at least {soak.LEAST_MINUTES}")
    parser.add_argument("--against", metavar="REV", help=f"compare with that revision: {', '.join(against.FIGURES)}")
    parser.add_argument(
        "--rounds", type=int, default=5, help="with --against: number of rounds on each of the two; at least 1"
    )
    given = parser.parse_args()
    if given.minutes < soak.LEAST_MINUTES:
        parser.error(f"a soak takes at least {soak.LEAST_MINUTES} minutes")
    if given.rounds < 1:
        parser.error("--rounds is at least 1")
    known: Iterable[str] = FIGURES if given.against is None else against.FIGURES
    unknown = [name for name in given.figure if name not in known]
    if unknown:
        parser.error(f"there is no figure {', '.join(unknown)}; there are {', '.join(known)}")
    try:
        if given.against is None:
            measuring = measure(given.figure or default, given.minutes)
        else:
            revision = Revision.named(given.against, HERE, against.SCRATCH)
            measuring = compare(given.figure or list(against.FIGURES), revision, given.rounds)
        rows = uvloop.run(_until_told_to_stop(measuring))
    except Missing as error:
        parser.error(str(error))
    except asyncio.CancelledError:
        return 130
    print(f"\n{render(rows)}")
    return 0 if all(row.met is not False for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
