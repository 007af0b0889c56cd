"""The start of a stack: seconds until every part is ready, and the memory after a first chat."""

import asyncio
import json
import statistics
import sys
import time

from bench.environment import Environment
from bench.llm import memory_used
from bench.memory import resident_bytes
from bench.programs import process_tree
from bench.stack import PATIENCE_SECONDS, Stack, chat_body, post
from bench.table import Row

STARTS = 3
LOOK_SECONDS = 0.02


async def measure(environment: Environment) -> list[Row]:
    """Measure `soma up` on a used data directory, and the start of the peer, in turn."""
    stack = await environment.stack()
    here: list[float] = []
    chatted: list[float] = []
    there: list[float] = []
    await environment.end_litellm()
    for start in range(STARTS):
        await stack.down()
        chat = asyncio.create_task(asyncio.to_thread(until_chat_answers, stack, time.perf_counter()))
        here.append(await stack.up())
        chatted.append(await chat)
        if start < STARTS - 1:
            there.append((await environment.litellm()).start_seconds)
            await environment.end_litellm()
    peer = await environment.litellm()
    there.append(peer.start_seconds)
    await asyncio.to_thread(first_chat, stack)
    await asyncio.to_thread(post, peer.port, peer.key, "/v1/chat/completions", json.loads(chat_body("instant")))
    ours, theirs = statistics.median(here), statistics.median(there)
    rows = [
        Row(
            "soma up, warm, everything ready",
            f"{ours:.1f} s",
            f"{theirs:.1f} s LiteLLM alone",
            f"{theirs / ours:.1f}× faster",
            "≤ 8 s",
            ours <= 8,
        ),
        Row(
            "soma up, warm, until a chat is answered",
            f"{statistics.median(chatted):.1f} s",
            "-",
            "-",
            "≤ 5 s",
            statistics.median(chatted) <= 5,
        ),
    ]
    if sys.platform == "linux":
        memory, beside = (resident_bytes(found) / 1e6 for found in (stack.processes(), process_tree(peer.pid)))
        row = (f"{memory:.0f} MB", f"{beside:.0f} MB LiteLLM alone", f"{memory / beside:.2f}×", "≤ 700 MB")
        rows.append(Row("memory of all processes, chat and embeddings used", *row, memory <= 700))
        without, used = (found / 1e6 for found in await memory_used(stack))
        ratio = f"+{used - without:.0f} MB"
        rows.append(Row("the same, SmolLM2 used too", f"{used:.0f} MB", f"{without:.0f} MB before", ratio, "-", None))
    return rows


def until_chat_answers(stack: Stack, began: float) -> float:
    """The seconds from `began` until a chat is answered: a client asks again and again while the stack starts.

    Raises:
        TimeoutError: no chat was answered.
    """
    while time.perf_counter() - began < PATIENCE_SECONDS:
        try:
            post(stack.port, stack.key, "/v1/chat/completions", json.loads(chat_body("instant")))
        except OSError:
            time.sleep(LOOK_SECONDS)
        else:
            return time.perf_counter() - began
    raise TimeoutError("no chat was answered while the stack started")


def first_chat(stack: Stack) -> None:
    """Chat in a remembered conversation, and make embeddings."""
    turn = {**json.loads(chat_body("instant")), "conversation": "bench"}
    for _ in range(2):
        post(stack.port, stack.key, "/v1/chat/completions", turn)
    post(stack.port, stack.key, "/slm/v1/embeddings", {"input": ["a text that becomes a vector"]})
