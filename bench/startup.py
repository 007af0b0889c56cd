"""What it takes to have a stack: seconds until everything is ready, and memory after a first chat."""

import asyncio
import json
import statistics
import sys

from bench.memory import resident_bytes
from bench.programs import tree
from bench.stack import Stack, ask, post
from bench.table import Row
from bench.workplace import Workplace

STARTS = 3


async def measure(place: Workplace) -> list[Row]:
    """`soma up` on a data directory that has been used before, and the peer's start, by turns."""
    stack = await place.stack()
    here: list[float] = []
    there: list[float] = []
    await place.end_litellm()
    for start in range(STARTS):
        await stack.down()
        here.append(await stack.up())
        if start < STARTS - 1:
            there.append((await place.litellm()).start_seconds)
            await place.end_litellm()
    peer = await place.litellm()
    there.append(peer.start_seconds)
    await asyncio.to_thread(first_chat, stack)
    await asyncio.to_thread(post, peer.port, peer.key, "/v1/chat/completions", json.loads(ask("instant")))
    ours, theirs = statistics.median(here), statistics.median(there)
    rows = [
        Row(
            "soma up, warm, everything ready",
            f"{ours:.1f} s",
            f"{theirs:.1f} s LiteLLM alone",
            f"{theirs / ours:.1f}× faster",
            "≤ 8 s",
            ours <= 8,
        )
    ]
    if sys.platform == "linux":
        memory, beside = (resident_bytes(found) / 1e6 for found in (stack.processes(), tree(peer.pid)))
        row = (f"{memory:.0f} MB", f"{beside:.0f} MB LiteLLM alone", f"{memory / beside:.2f}×", "≤ 700 MB")
        rows.append(Row("memory of all processes, chat and embeddings used", *row, memory <= 700))
    return rows


def first_chat(stack: Stack) -> None:
    """A turn that is remembered, and vectors."""
    turn = {**json.loads(ask("instant")), "conversation": "bench"}
    for _ in range(2):
        post(stack.port, stack.key, "/v1/chat/completions", turn)
    post(stack.port, stack.key, "/slm/v1/embeddings", {"input": ["a text that becomes a vector"]})
