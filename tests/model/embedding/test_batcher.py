"""Concurrent calls share batches fairly, each gets its own vectors, and a cancelled call gets none."""

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.mesh.call.errors import ResourceExhausted, Unavailable
from services.model.embedding.batcher import Batcher
from services.model.embedding.embedder import Embeddings
from tests.size import examples


def echo(texts: Sequence[str]) -> Embeddings:
    """Vectors that identify their text: a text is a number, followed by this number of blanks."""
    numbers = np.array([float(text) for text in texts], np.float32)
    lengths = np.array([len(text) for text in texts], np.int32)
    return Embeddings(np.stack([numbers, -numbers], axis=1), numbers + 1, lengths)


class Gate:
    """A run that reports its begin, and waits until the test opens it."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._opened = threading.Semaphore(0)
        self.begun: asyncio.Queue[list[str]] = asyncio.Queue()

    def run(self, texts: Sequence[str]) -> Embeddings:
        self._loop.call_soon_threadsafe(self.begun.put_nowait, list(texts))
        assert self._opened.acquire(timeout=30)
        return echo(texts)

    def open(self, runs: int = 1) -> None:
        self._opened.release(runs)

    async def next(self) -> list[str]:
        async with asyncio.timeout(30):
            return await self.begun.get()


@asynccontextmanager
async def gated(*, threads: int = 1, batch: int = 8, waiting: int = 1000) -> AsyncIterator[tuple[Batcher, Gate]]:
    gate = Gate()
    batcher = Batcher(gate.run, threads=threads, batch=batch, waiting=waiting)
    try:
        yield batcher, gate
    finally:
        gate.open(1000)
        await batcher.close()


def numbers(begin: int, count: int) -> list[str]:
    return [str(number) for number in range(begin, begin + count)]


@given(
    st.lists(st.lists(st.integers(0, 99_999), min_size=1, max_size=40), min_size=1, max_size=20),
    st.integers(1, 3),
    st.integers(1, 16),
    st.data(),
)
@settings(max_examples=examples(60))
def test_every_call_gets_its_own_vectors_in_its_own_order(
    calls: list[list[int]], threads: int, batch: int, data: st.DataObject
) -> None:
    leavers = data.draw(st.sets(st.integers(0, len(calls) - 1), max_size=len(calls) // 2))

    async def scenario() -> None:
        batcher = Batcher(echo, threads=threads, batch=batch, waiting=10_000)
        tasks = [asyncio.create_task(batcher.embed([str(number) for number in call])) for call in calls]
        await asyncio.sleep(0)
        for leaver in leavers:
            tasks[leaver].cancel()
        async with asyncio.timeout(30):
            results = await asyncio.gather(*tasks, return_exceptions=True)
        for index, (call, found) in enumerate(zip(calls, results, strict=True)):
            if index in leavers:
                assert isinstance(found, asyncio.CancelledError)
                continue
            assert isinstance(found, Embeddings)
            assert found.vectors[:, 0].tolist() == call
            assert found.norms.tolist() == [number + 1 for number in call]
            assert found.tokens.tolist() == [len(str(number)) for number in call]
        await batcher.close()

    with asyncio.Runner() as runner:
        runner.run(scenario())


async def test_calls_that_arrive_while_a_batch_runs_share_the_next() -> None:
    async with gated() as (batcher, gate):
        calls = [asyncio.create_task(batcher.embed(["1"]))]
        assert await gate.next() == ["1"]
        calls += [asyncio.create_task(batcher.embed([text])) for text in numbers(2, 5)]
        await asyncio.sleep(0)
        gate.open()
        assert sorted(await gate.next()) == numbers(2, 5)
        gate.open()
        assert [(await call).vectors[0, 0] for call in calls] == [1, 2, 3, 4, 5, 6]


async def test_a_small_call_does_not_wait_for_a_huge_one() -> None:
    async with gated() as (batcher, gate):
        huge = asyncio.create_task(batcher.embed(numbers(100, 200)))
        await gate.next()
        small = asyncio.create_task(batcher.embed(["7"]))
        await asyncio.sleep(0)
        gate.open()
        assert "7" in await gate.next()
        gate.open()
        assert (await small).vectors[0, 0] == 7
        assert not huge.done()
        gate.open(1000)
        assert (await huge).vectors[:, 0].tolist() == list(range(100, 300))


async def test_one_call_is_spread_over_idle_threads() -> None:
    async with gated(threads=2) as (batcher, gate):
        call = asyncio.create_task(batcher.embed(numbers(0, 8)))
        assert {len(await gate.next()), len(await gate.next())} == {4}
        gate.open(2)
        assert (await call).vectors[:, 0].tolist() == list(range(8))


async def test_the_waiting_texts_of_a_cancelled_call_are_removed() -> None:
    async with gated(waiting=20) as (batcher, gate):
        first = asyncio.create_task(batcher.embed(["1"]))
        await gate.next()
        leaver = asyncio.create_task(batcher.embed(numbers(100, 20)))
        await asyncio.sleep(0)
        leaver.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaver
        stayer = asyncio.create_task(batcher.embed(numbers(200, 8)))
        await asyncio.sleep(0)
        gate.open()
        assert sorted(await gate.next()) == numbers(200, 8)
        gate.open()
        assert (await first).vectors[0, 0] == 1
        assert (await stayer).vectors[:, 0].tolist() == list(range(200, 208))


async def test_a_full_queue_refuses_a_call_with_a_retry_time() -> None:
    async with gated(waiting=10) as (batcher, gate):
        running = asyncio.create_task(batcher.embed(["1"]))
        await gate.next()
        waiting = asyncio.create_task(batcher.embed(numbers(2, 10)))
        await asyncio.sleep(0)
        with pytest.raises(ResourceExhausted) as refused:
            await batcher.embed(["99"])
        assert refused.value.reason == "EMBEDDING_QUEUE_FULL"
        assert refused.value.facts.retry_after
        gate.open(1000)
        await running
        assert (await waiting).vectors[:, 0].tolist() == list(range(2, 12))
        assert (await batcher.embed(["99"])).vectors[0, 0] == 99


async def test_a_failed_batch_fails_its_calls_and_no_other() -> None:
    def run(texts: Sequence[str]) -> Embeddings:
        if "13" in texts:
            raise ArithmeticError("unlucky")
        return echo(texts)

    batcher = Batcher(run, threads=1, batch=4, waiting=100)
    with pytest.raises(ArithmeticError):
        await batcher.embed(numbers(10, 30))
    assert (await batcher.embed(numbers(40, 9))).vectors[:, 0].tolist() == list(range(40, 49))
    await batcher.close()


async def test_closing_waits_for_running_batches_and_refuses_waiting_texts() -> None:
    async with gated() as (batcher, gate):
        running = asyncio.create_task(batcher.embed(["1"]))
        await gate.next()
        waiting = asyncio.create_task(batcher.embed(["2"]))
        await asyncio.sleep(0)
        closing = asyncio.create_task(batcher.close())
        with pytest.raises(Unavailable):
            await waiting
        gate.open()
        await closing
        assert (await running).vectors[0, 0] == 1
        with pytest.raises(Unavailable):
            await batcher.embed(["3"])
