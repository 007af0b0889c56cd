"""The EchoService in two processes: behind the mesh, as `soma serve testing` runs it, and on a bare gRPC server."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.programs import Missing, free_port, output, running
from bench.stack import Stack, post
from cli.parts.part import Launch

CALLS = Path(__file__).parents[1] / ".tools" / "calls" / "calls"
PATIENCE_SECONDS = 30.0


@dataclass(frozen=True)
class Echo:
    """A process that serves it at `address`."""

    address: str
    pid: int


@dataclass(frozen=True)
class Answers:
    """What a load of calls or messages came to; all answers were right."""

    answers: int
    seconds: float
    median_ms: float
    p99_ms: float

    @property
    def rate(self) -> float:
        """Answers per second."""
        return self.answers / self.seconds


@asynccontextmanager
async def meshed(stack: Stack, log: Path) -> AsyncIterator[Echo]:
    """A process of its own that has joined the stack, once the gateway sends calls there."""

    async def routed() -> bool:
        try:
            await asyncio.to_thread(post, stack.port, stack.key, "/v1/testing/echo", {"text": "are you there"})
        except OSError:
            return False
        return True

    async with running(stack.command("serve", "testing"), log, routed, PATIENCE_SECONDS) as pid:
        said = (json.loads(line) for line in log.read_text().splitlines())
        yield Echo(next(line["grpc"] for line in said if line["event"] == "serving"), pid)


@asynccontextmanager
async def bare(log: Path) -> AsyncIterator[Echo]:
    """The same servicer on a server as grpc.aio makes it."""
    port = free_port()
    async with running(Launch([sys.executable, "-m", "bench.bare", str(port)]), log, port, PATIENCE_SECONDS) as pid:
        yield Echo(f"127.0.0.1:{port}", pid)


async def load(kind: str, address: str, key: str, channels: int, callers: int, seconds: int) -> Answers:
    """Load a server with `unary` calls or `chat` streams.

    Raises:
        Missing: the program that does is not built.
        RuntimeError: an answer was wrong, or a call failed.
    """
    if not CALLS.exists():
        raise Missing("the load for gRPC is missing: make bench builds it")
    numbers = map(str, (channels, callers, seconds))
    said = await output([str(CALLS), kind, address, key, *numbers], seconds + 60)
    return Answers(**json.loads(said.splitlines()[-1]))
