"""Load with wrk: one thread repeats requests on several connections, and every answer is checked."""

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.programs import output, program

SECONDS = 6
SCRIPT = Path(__file__).with_name("load.lua")


@dataclass(frozen=True)
class Load:
    """The result of a run of wrk.

    Attributes:
        wrong: number of answers that were not 200, or not as expected.
        lost: number of connections refused or cut, and of requests without an answer in time.
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
    counted: str = "",
    headers: Mapping[str, str] = {},
) -> Load:
    """Load `url` with POSTs of `body`, or with GETs if it is empty; a right answer contains `expected`.

    Args:
        pause_ms: pause of a connection between an answer and the next request.
        fresh: whether each request has its own connection.
        counted: digits in the body, in whose places each request has its own number.
        headers: further headers of each request.

    Raises:
        Missing: wrk is not installed.
        RuntimeError: wrk failed, or an answer was wrong or lost.
    """
    path = program("wrk", "apt-get install wrk, or brew install wrk")
    given = [each for name, value in headers.items() for each in ("-H", f"{name}: {value}")]
    command = [path, "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s", *given, "-s", str(SCRIPT), url]
    how = [str(pause_ms), "fresh" if fresh else "kept", counted]
    # In a file, because an argument of a program has at most 128 KiB.
    with tempfile.NamedTemporaryFile() as file:
        file.write(body)
        file.flush()
        output_text = await output([*command, "--", key, file.name, expected, *how], seconds + 30)
    load = Load(**json.loads(output_text.strip().splitlines()[-1]))
    if load.wrong or load.lost:
        raise RuntimeError(f"{load.wrong} answers of {load.requests} were wrong and {load.lost} lost at {url}")
    return load
