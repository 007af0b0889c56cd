"""Anthropic's protocol: its rate and its processor time beside chat completions, on 32 connections in one run."""

import json
import statistics
from dataclasses import dataclass, field

from bench import chat
from bench.environment import Environment
from bench.stack import Stack, cost, serve_ms
from bench.table import Row
from bench.upstream import answer
from bench.wrk import Load, wrk

ROUNDS = 5
SECONDS = 4
LIMIT = 0.9
MODEL = "instant"
VERSION = {"anthropic-version": "2023-06-01"}
BODY = json.dumps(
    {
        "model": MODEL,
        "max_tokens": 64,
        "system": "You are brief.",
        "messages": [{"role": "user", "content": "Say a word, please."}],
    }
).encode()


@dataclass
class _Found:
    """What the rounds of one protocol came to: answers a second, and milliseconds of serve for one."""

    rates: list[float] = field(default_factory=list)
    serve: list[float] = field(default_factory=list)


async def measure(environment: Environment) -> list[Row]:
    """Load both protocols in turn; the first round warms up."""
    stack = await environment.stack()
    messages, chats = _Found(), _Found()
    for round_ in range(-1, ROUNDS):
        for found in (messages, chats):
            before = stack.processor_seconds()
            load = await (_load(stack) if found is messages else chat.load(stack.port, stack.key, seconds=SECONDS))
            after = stack.processor_seconds()
            name = "messages" if found is messages else "chat completions"
            print(f"{name}: {load.rate:,.0f} req/s, processor ms {cost(before, after, load.requests)}")
            if round_ >= 0:
                found.rates.append(load.rate)
                found.serve.append(serve_ms(before, after, load.requests))
    rate, other = statistics.median(messages.rates), statistics.median(chats.rates)
    spent, theirs = statistics.median(messages.serve), statistics.median(chats.serve)
    return [
        Row(
            "messages of Anthropic's protocol, 32 connections",
            f"{rate:,.0f} req/s",
            f"{other:,.0f} req/s chat completions",
            f"{rate / other:.2f}×",
            f"≥ {LIMIT}×",
            rate >= LIMIT * other,
        ),
        Row(
            "processor time of serve, a message of Anthropic's protocol",
            f"{spent:.2f} ms",
            f"{theirs:.2f} ms a chat completion",
            f"{spent / theirs:.2f}×",
            f"≤ {1 / LIMIT:.2f}×",
            spent * LIMIT <= theirs,
        ),
    ]


async def _load(stack: Stack) -> Load:
    url = f"http://127.0.0.1:{stack.port}/v1/messages"
    return await wrk(
        url, BODY, answer(MODEL), key=stack.key, connections=chat.CONNECTIONS, seconds=SECONDS, headers=VERSION
    )
