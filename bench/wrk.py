"""Load by wrk, one thread: requests over and over on a number of connections, every answer looked at."""

import json
from dataclasses import dataclass
from pathlib import Path

from bench.programs import output, program

SECONDS = 6
SCRIPT = Path(__file__).with_name("load.lua")


@dataclass(frozen=True)
class Load:
    """What a run of wrk came to.

    Attributes:
        wrong: answers that were not 200 or not what was expected.
        lost: connections refused or cut, and requests nobody answered in time.
    """

    requests: int
    seconds: float
    wrong: int
    lost: int
    median_ms: float
    p99_ms: float

    @property
    def rate(self) -> float:
        """Answers per second."""
        return self.requests / self.seconds


async def wrk(
    url: str,
    body: bytes,
    expected: str,
    *,
    key: str = "none",
    connections: int = 1,
    seconds: int = SECONDS,
    pause_ms: int = 0,
    fresh: bool = False,
) -> Load:
    """Load `url` with POSTs of `body`, or GETs where it is empty; a right answer contains `expected`.

    Args:
        pause_ms: how long a connection rests between an answer and its next request.
        fresh: whether each request is made on a connection of its own.

    Raises:
        Missing: there is no wrk.
        RuntimeError: wrk failed, or an answer was wrong or lost.
    """
    path = program("wrk", "apt-get install wrk, or brew install wrk")
    command = [path, "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s", "-s", str(SCRIPT), url]
    how = [str(pause_ms), "fresh" if fresh else "kept"]
    said = await output([*command, "--", key, body.decode(), expected, *how], seconds + 30)
    load = Load(**json.loads(said.strip().splitlines()[-1]))
    if load.wrong or load.lost:
        raise RuntimeError(f"{load.wrong} answers of {load.requests} were wrong and {load.lost} lost at {url}")
    return load
