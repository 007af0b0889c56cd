"""The EchoService in two kinds of process: in the mesh (`soma serve testing`), and on a bare gRPC server."""

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
    """A process that serves the EchoService at `address`."""

    address: str
    pid: int


@dataclass(frozen=True)
class Answers:
    """The result of a load of calls or messages; all answers were right."""

    answers: int
    seconds: float
    median_ms: float
    p99_ms: float

    @property
    def rate(self) -> float:
        """Answers per second."""
        return self.answers / self.seconds


@asynccontextmanager
async def mesh_server(stack: Stack, log: Path) -> AsyncIterator[Echo]:
    """Run a process that joins the stack; the block begins when the gateway sends calls to it."""

    async def routed() -> bool:
        try:
            await asyncio.to_thread(post, stack.port, stack.key, "/v1/testing/echo", {"text": "are you there"})
        except OSError:
            return False
        return True

    async with running(stack.command("serve", "testing"), log, routed, PATIENCE_SECONDS) as pid:
        output_text = (json.loads(line) for line in log.read_text().splitlines())
        yield Echo(next(line["grpc"] for line in output_text if line["event"] == "serving"), pid)


@asynccontextmanager
async def bare_server(log: Path) -> AsyncIterator[Echo]:
    """Run the same servicer on a plain grpc.aio server."""
    port = free_port()
    async with running(Launch([sys.executable, "-m", "bench.bare", str(port)]), log, port, PATIENCE_SECONDS) as pid:
        yield Echo(f"127.0.0.1:{port}", pid)


async def load(kind: str, address: str, key: str, channels: int, callers: int, seconds: int) -> Answers:
    """Load a server with `unary` calls or `chat` streams.

    Raises:
        Missing: the program for the load is not built.
        RuntimeError: an answer was wrong, or a call failed.
    """
    if not CALLS.exists():
        raise Missing("the program that loads gRPC is missing: make bench builds it")
    numbers = map(str, (channels, callers, seconds))
    output_text = await output([str(CALLS), kind, address, key, *numbers], seconds + 60)
    return Answers(**json.loads(output_text.splitlines()[-1]))
