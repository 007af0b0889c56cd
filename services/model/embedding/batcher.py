"""Merges the texts of concurrent calls into batches, and returns to each call its own vectors.

New texts wait while all threads are busy. A thread that becomes free takes a part of every waiting call. So a single
caller never waits, many callers share a batch, and a call with a thousand texts does not delay a call with one.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from soma.errors.v1 import reasons

from services.mesh.call.errors import ResourceExhausted, Unavailable
from services.model.embedding.embedder import Embeddings

Run = Callable[[Sequence[str]], Embeddings]


@dataclass(slots=True, eq=False)
class _Call:
    """One call: its texts, their order (shortest first), the number of texts in batches so far, and its result."""

    texts: Sequence[str]
    order: NDArray[np.intp]
    done: asyncio.Future[Embeddings]
    found: Embeddings | None = None
    taken: int = 0
    missing: int = 0

    def take(self, most: int) -> "_Share":
        share = _Share(self, self.order[self.taken : self.taken + most])
        self.taken += len(share.indices)
        return share

    @property
    def remaining(self) -> int:
        return len(self.texts) - self.taken

    def fill(self, indices: NDArray[np.intp], part: Embeddings) -> None:
        if self.found is None:
            count = len(self.texts)
            vectors = np.empty((count, part.vectors.shape[1]), np.float32)
            self.found = Embeddings(vectors, np.empty(count, np.float32), np.empty(count, np.int32))
        self.found.vectors[indices] = part.vectors
        self.found.norms[indices] = part.norms
        self.found.tokens[indices] = part.tokens
        self.missing -= len(indices)
        if self.missing == 0 and not self.done.done():
            self.done.set_result(self.found)


@dataclass(frozen=True, slots=True)
class _Share:
    """The texts of one call in a batch."""

    call: _Call
    indices: NDArray[np.intp]


class Batcher:
    """Runs `run` in threads, with at most `batch` texts at a time; at most `waiting` texts may queue."""

    def __init__(self, run: Run, *, threads: int, batch: int, waiting: int) -> None:
        self._run = run
        self._threads = threads
        self._batch = batch
        self._most_waiting = waiting
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="embed")
        self._calls: deque[_Call] = deque()
        self._waiting = 0
        self._running: set[asyncio.Future[Embeddings]] = set()
        self._closed = False

    async def embed(self, texts: Sequence[str]) -> Embeddings:
        # When a call is cancelled, its texts that have not begun are dropped.
        if self._closed:
            raise Unavailable("the embedder is closing")
        if not texts:
            return self._run(texts)
        if self._waiting + len(texts) > self._most_waiting:
            raise ResourceExhausted(
                "too many texts wait to be embedded", reason=reasons.EMBEDDING_QUEUE_FULL, retry_after=1.0
            )
        order = np.argsort(np.array([len(text) for text in texts]), kind="stable")
        done: asyncio.Future[Embeddings] = asyncio.get_running_loop().create_future()
        call = _Call(texts, order, done, missing=len(texts))
        self._calls.append(call)
        self._waiting += len(texts)
        self._start()
        try:
            return await done
        finally:
            self._forget(call)

    async def close(self) -> None:
        """Refuse the waiting texts, and wait for the running batches."""
        self._closed = True
        for call in list(self._calls):
            self._fail(call, Unavailable("the embedder is closing"))
        await asyncio.gather(*self._running, return_exceptions=True)
        self._pool.shutdown()

    def _start(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting and len(self._running) < self._threads:
            shares = self._next()
            texts = [share.call.texts[index] for share in shares for index in share.indices]
            running = loop.run_in_executor(self._pool, self._run, texts)
            self._running.add(running)
            running.add_done_callback(partial(self._finish, shares))

    def _next(self) -> list[_Share]:
        """The next batch: an equal share of every waiting call, up to the size of a batch."""
        idle = self._threads - len(self._running)
        room = min(self._batch, -(-self._waiting // idle))
        shares: list[_Share] = []
        while room and self._calls:
            call = self._calls.popleft()
            share = call.take(max(1, room // (len(self._calls) + 1)))
            room -= len(share.indices)
            self._waiting -= len(share.indices)
            shares.append(share)
            if call.remaining:
                self._calls.append(call)
        return shares

    def _finish(self, shares: list[_Share], running: asyncio.Future[Embeddings]) -> None:
        self._running.discard(running)
        error = running.exception()
        begin = 0
        for share in shares:
            end = begin + len(share.indices)
            if error is not None:
                self._fail(share.call, error)
            else:
                found = running.result()
                part = Embeddings(found.vectors[begin:end], found.norms[begin:end], found.tokens[begin:end])
                share.call.fill(share.indices, part)
            begin = end
        self._start()

    def _fail(self, call: _Call, error: BaseException) -> None:
        self._forget(call)
        if not call.done.done():
            call.done.set_exception(error)

    def _forget(self, call: _Call) -> None:
        if call in self._calls:
            self._calls.remove(call)
            self._waiting -= call.remaining
