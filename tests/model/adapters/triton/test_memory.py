"""Streams leave no memory behind, also those whose callers left (triton-inference-server/server, issue 6270)."""

import asyncio

import psutil
import pytest

from services.model.adapters.triton.server import Server
from services.model.adapters.triton.stream import Stream
from services.model.adapters.upstream import Patience
from tests.model.adapters.triton.server import TritonServer
from tests.size import Size

# As many streams at once; then the server settles.
BESIDE = 16
FIRST = 1000
MOST_MIB = 20.0


def mebibytes(pid: int) -> float:
    """The memory of this process, of a server and of its models, without files and what they share.

    Other programs of the machine change how much of those counts for whom.
    """
    server = psutil.Process(pid)
    family = [psutil.Process(), server, *server.children(recursive=True)]
    return float(sum(each.rss - each.shared for each in (process.memory_info() for process in family)) / 2**20)


@pytest.mark.long
async def test_half_of_the_streams_are_cancelled_and_memory_stays(
    running: TritonServer, server: Server, size: Size
) -> None:
    stream = Stream(server, Patience())
    numbers = iter(range(size.of(2 * FIRST, 10 * FIRST)))
    done = 0
    first = 0.0

    async def callers() -> None:
        nonlocal done, first
        for number in numbers:
            answer = stream.stream("ticker", {"stream": True, "words": 20, "every": 0.0}, {})
            async for _ in answer:
                if number % 2:
                    break
            await answer.aclose()
            done += 1
            if done == FIRST:
                first = mebibytes(running.pid)

    pid = running.pid
    await asyncio.gather(*(callers() for _ in range(BESIDE)))
    assert running.pid == pid and psutil.pid_exists(pid)
    assert first and mebibytes(pid) - first <= MOST_MIB
