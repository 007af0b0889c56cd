"""Idle streams of server-sent events: the memory of each, and the latency of other requests meanwhile."""

import asyncio
import resource
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bench.chat import BODY, EXPECTED
from bench.environment import Environment
from bench.table import Row
from bench.wrk import wrk

STREAMS = 2_000
TARGET_KB, TARGET_MS = 60, 50
AT_ONCE = 50
SECONDS = 10
# A stream gets a heartbeat every 15 s. All streams are opened within some seconds.
HEARTBEAT_SECONDS = 15
PATIENCE_SECONDS = 120


class Tail:
    """Follows the log of a task without events."""

    def __init__(self, port: int, key: str) -> None:
        head = f"GET /api/v1/logs/stream/nothing HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {key}\r\n\r\n"
        self._request = head.encode()
        self._port = port
        self.started = asyncio.Event()
        self.alive = asyncio.Event()

    async def follow(self) -> None:
        """Read until cancelled.

        Raises:
            RuntimeError: the stream was refused, or it ended.
        """
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port, limit=4096)
        try:
            writer.write(self._request)
            status = (await reader.readline()).decode().strip()
            if " 200 " not in status:
                raise RuntimeError(f"an idle stream was refused: {status}")
            while line := await reader.readline():
                if b'"started":' in line:
                    self.started.set()
                if b'"heartbeat":' in line:
                    self.alive.set()
        finally:
            writer.close()
        raise RuntimeError("an idle stream was cut")


@asynccontextmanager
async def followed(port: int, key: str, count: int) -> AsyncIterator[list[Tail]]:
    """Run `count` tails during a block. All have started when it begins, and it fails when one of them ends.

    Raises:
        RuntimeError: a tail was refused or has ended, or not all have started in time.
    """
    turn = asyncio.Semaphore(AT_ONCE)
    tails = [Tail(port, key) for _ in range(count)]
    try:
        async with asyncio.TaskGroup() as group:

            async def begun(tail: Tail) -> asyncio.Task[None]:
                async with turn:
                    following = group.create_task(tail.follow())
                    await tail.started.wait()
                return following

            async with asyncio.timeout(PATIENCE_SECONDS):
                following = await asyncio.gather(*map(begun, tails))
            yield tails
            for task in following:
                task.cancel()
    except* (RuntimeError, TimeoutError) as cut:
        raise RuntimeError(str(cut.exceptions[0]) or "not all idle streams have started in time") from cut


async def measure(environment: Environment) -> list[Row]:
    """Measure the memory before and with all streams, then other requests, until each stream got a heartbeat."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    stack = await environment.stack()
    await stack.down()
    # By default, the gateway permits 1,024 calls in progress to a service, including streams.
    await stack.up(SOMA_MAX_REQUESTS=str(2 * STREAMS))
    url = f"http://127.0.0.1:{stack.port}/v1/chat/completions"
    try:
        # The first requests and streams cause memory that later ones do not need, so they come before the measurement.
        await wrk(url, BODY, EXPECTED, key=stack.key, connections=AT_ONCE, seconds=2)
        async with followed(stack.port, stack.key, AT_ONCE):
            pass
        before = stack.memory()
        async with followed(stack.port, stack.key, STREAMS) as tails:
            with_all = stack.memory()
            each = {part: (with_all[part] - before[part]) / STREAMS / 1000 for part in before}
            others = await wrk(url, BODY, EXPECTED, key=stack.key, seconds=SECONDS, fresh=True)
            async with asyncio.timeout(2 * HEARTBEAT_SECONDS):
                await asyncio.gather(*(tail.alive.wait() for tail in tails))
    finally:
        await stack.down()
        await stack.up()
    print("KB a stream:", " ".join(f"{part} {kilobytes:.1f}" for part, kilobytes in sorted(each.items())))
    return [
        Row(
            f"memory of an idle SSE stream, {STREAMS:,} open",
            f"{each['serve']:.0f} KB in serve, {each['envoy']:.0f} KB in Envoy",
            f"{TARGET_KB} KB",
            f"{each['serve'] / TARGET_KB:.1f}×",
            f"≤ {TARGET_KB} KB",
            each["serve"] <= TARGET_KB,
        ),
        Row(
            "chat completion meanwhile, on a fresh connection",
            f"p99 {others.p99_ms:.1f} ms (median {others.median_ms:.1f} ms)",
            f"{TARGET_MS} ms",
            f"{others.p99_ms / TARGET_MS:.1f}×",
            f"≤ {TARGET_MS} ms",
            others.p99_ms <= TARGET_MS,
        ),
    ]
