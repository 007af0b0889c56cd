"""What is measured: how many callers, how long their texts are, and the figures of one way to run the model."""

from __future__ import annotations

import random
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

AT_ONCE = (1, 8, 64)


@dataclass(frozen=True)
class Task:
    """How much is done.

    Attributes:
        shape: name of the shape of the model.
        device: cuda or cpu.
        text: tokens of a text, of which vectors are made.
        prompt: tokens of a prompt.
        answer: tokens of an answer.
        seconds: seconds for each figure of vectors.
        rounds: times that all callers ask for an answer, for each figure.
    """

    shape: str
    device: str
    text: int = 64
    prompt: int = 128
    answer: int = 64
    seconds: float = 5.0
    rounds: int = 3

    @property
    def longest(self) -> int:
        """Most tokens of a conversation."""
        return self.prompt + self.answer


class Way(Protocol):
    """A way to run the model."""

    def embed(self, texts: Sequence[Sequence[int]]) -> None:
        """Make the vectors of texts of one length."""

    def write(self, ids: Sequence[int], tokens: int) -> Iterator[int]:
        """Write tokens after a prompt."""


@dataclass(frozen=True)
class Figures:
    """What was measured with a number of callers at once; the time to the first token is the median."""

    at_once: int
    texts_per_second: float
    tokens_per_second: float
    first_token_ms: float


def measured(way: Way, task: Task, vocabulary: int, at_once: int, batch: bool) -> Figures:
    """The figures of one way. With `batch`, one caller hands over as many texts as else callers do, in one call."""
    random_ = random.Random(at_once)

    def ids(length: int) -> list[int]:
        return [random_.randrange(vocabulary) for _ in range(length)]

    texts = [ids(task.text) for _ in range(at_once)]
    prompts = [ids(task.prompt) for _ in range(at_once)]
    # What is slow the first time is not measured.
    _rate(way, texts, batch, min(1.0, task.seconds))
    _answers(way, prompts, task.answer)
    rate = _rate(way, texts, batch, task.seconds)
    rounds = [_answers(way, prompts, task.answer) for _ in range(task.rounds)]
    return Figures(
        at_once,
        rate,
        statistics.median(tokens for tokens, _ in rounds),
        statistics.median(first for _, firsts in rounds for first in firsts) * 1000,
    )


def _rate(way: Way, texts: Sequence[Sequence[int]], batch: bool, seconds: float) -> float:
    done = [0] * (1 if batch else len(texts))
    began = time.perf_counter()

    def call(number: int) -> None:
        given = texts if batch else texts[number : number + 1]
        while time.perf_counter() < began + seconds:
            way.embed(given)
            done[number] += len(given)

    _beside(call, len(done))
    return sum(done) / (time.perf_counter() - began)


def _answers(way: Way, prompts: Sequence[Sequence[int]], tokens: int) -> tuple[float, Sequence[float]]:
    """Tokens per second of all callers together, and the seconds of each until its first token."""
    firsts = [0.0] * len(prompts)
    counts = [0] * len(prompts)
    began = time.perf_counter()

    def call(number: int) -> None:
        for _ in way.write(prompts[number], tokens):
            if not counts[number]:
                firsts[number] = time.perf_counter() - began
            counts[number] += 1

    _beside(call, len(prompts))
    if any(count != tokens for count in counts):
        raise RuntimeError(f"an answer should have {tokens} tokens, the answers have {sorted(set(counts))}")
    return sum(counts) / (time.perf_counter() - began), firsts


def _beside(call: Callable[[int], None], count: int) -> None:
    """Call with each number in a thread of its own.

    Raises:
        Exception: the first that a call raised.
    """
    failures: list[BaseException] = []

    def safe(number: int) -> None:
        try:
            call(number)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=safe, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
