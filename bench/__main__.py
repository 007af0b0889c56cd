"""Measures figures and prints one table; fails when a target is missed. A soak is measured only when it is named."""

import argparse
import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable

import uvloop

from bench import bidi, chat, deltas, idle, local_channel, native, recall, soak, startup, texts
from bench.programs import Missing, load
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


async def measure(names: list[str], soak_minutes: int) -> list[Row]:
    """The rows of the figures; one that cannot be measured is a row that says why."""
    rows: list[Row] = []
    task = asyncio.current_task()
    assert task is not None
    for ending in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(ending, task.cancel)
    async with Workplace(soak_minutes) as place:
        for name in names:
            print(f"{name}: {load():.1f} processes want a processor", flush=True)
            try:
                found = await FIGURES[name](place)
            except (RuntimeError, TimeoutError, Missing) as error:
                print(f"  {error!r}" if isinstance(error, TimeoutError) else f"  {error}", file=sys.stderr)
                found = [Row.failed(name, error)]
            rows += found
            for row in found:
                print(f"  {row.figure}: {row.here} | {row.peer} | {row.ratio}", flush=True)
    return rows


def main() -> int:
    """0 when every target is met."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    default = [name for name in FIGURES if name not in BY_NAME_ONLY]
    parser.add_argument("figure", nargs="*", help=f"{', '.join(FIGURES)}; {', '.join(default)} when none is named")
    parser.add_argument("--minutes", type=int, default=15, help=f"how long a soak takes; at least {soak.LEAST_MINUTES}")
    given = parser.parse_args()
    names = given.figure or default
    if given.minutes < soak.LEAST_MINUTES:
        parser.error(f"a soak takes at least {soak.LEAST_MINUTES} minutes")
    unknown = [name for name in names if name not in FIGURES]
    if unknown:
        parser.error(f"there is no figure {', '.join(unknown)}")
    try:
        rows = uvloop.run(measure(names, given.minutes))
    except asyncio.CancelledError:
        return 130
    print(f"\n{render(rows)}")
    return 0 if all(row.met is not False for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
