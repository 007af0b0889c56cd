"""Measures figures and prints one table; fails when a target is missed. A soak is measured only when it is named."""

import argparse
import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import AsyncExitStack
from functools import partial

import uvloop

from bench import against, bidi, chat, deltas, idle, local_channel, native, recall, soak, startup, texts
from bench.programs import Missing, load
from bench.revision import HERE, Revision
from bench.table import Row, render
from bench.workplace import Workplace

Figure = Callable[[Workplace], Awaitable[list[Row]]]
FIGURES: dict[str, Figure] = {
    "local-channel": local_channel.measure,
    "chat": chat.throughput,
    "latency": chat.added_latency,
    "deltas": deltas.measure,
    "recall": recall.measure,
    "native": native.measure,
    "bidi": bidi.measure,
    "idle": idle.measure,
    "startup": startup.measure,
    "texts": texts.measure,
    "soak": soak.measure,
}
BY_NAME_ONLY = ("soak",)
# What a figure that cannot be measured ends with.
FAILURES = (RuntimeError, TimeoutError, Missing)


async def measure(names: list[str], soak_minutes: int) -> list[Row]:
    """The rows of the figures, each beside its peer or limit."""
    async with Workplace(soak_minutes) as place:
        return await _rows({name: partial(FIGURES[name], place) for name in names})


async def compare(names: list[str], revision: Revision, rounds: int) -> list[Row]:
    """The rows of the figures, each beside that of another revision; one row when that one does not start."""
    async with AsyncExitStack() as exits:
        place = await exits.enter_async_context(Workplace())
        try:
            both = await exits.enter_async_context(against.beside(place, revision, rounds))
        except FAILURES as error:
            return [_failed(revision.short, error)]
        return await _rows({name: partial(against.FIGURES[name], both) for name in names})


async def _rows(figures: Mapping[str, Callable[[], Awaitable[list[Row]]]]) -> list[Row]:
    """The rows of the figures; one that cannot be measured is a row that says why."""
    rows: list[Row] = []
    for name, figure in figures.items():
        print(f"{name}: {load():.1f} processes want a processor", flush=True)
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
    """What is measured; SIGINT and SIGTERM end it, and everything that was started for it."""
    task = asyncio.current_task()
    assert task is not None
    for ending in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(ending, task.cancel)
    return await measuring


def main() -> int:
    """0 when every target is met."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    default = [name for name in FIGURES if name not in BY_NAME_ONLY]
    parser.add_argument("figure", nargs="*", help=f"{', '.join(FIGURES)}; {', '.join(default)} when none is named")
    parser.add_argument("--minutes", type=int, default=15, help=f"how long a soak takes; at least {soak.LEAST_MINUTES}")
    parser.add_argument(
        "--against", metavar="REV", help=f"run that revision beside this one: {', '.join(against.FIGURES)}"
    )
    parser.add_argument("--rounds", type=int, default=5, help="with --against: rounds on each of the two; at least 1")
    given = parser.parse_args()
    if given.minutes < soak.LEAST_MINUTES:
        parser.error(f"a soak takes at least {soak.LEAST_MINUTES} minutes")
    if given.rounds < 1:
        parser.error("there is at least one round")
    known: Iterable[str] = FIGURES if given.against is None else against.FIGURES
    unknown = [name for name in given.figure if name not in known]
    if unknown:
        parser.error(f"there is no figure {', '.join(unknown)}, but {', '.join(known)}")
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
