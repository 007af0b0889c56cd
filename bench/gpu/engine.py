"""Writes many conversations at the same time: a new one joins between two tokens of the others."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, Queue

import torch

from bench.gpu.llama import Cache, Llama

Emit = Callable[[int, bool], None]


@dataclass
class _Row:
    """A conversation: how many of its tokens are in the cache, its last one, how many are left, and who gets them."""

    ids: Sequence[int]
    left: int
    emit: Emit
    begin: int = 0
    last: int = 0

    def take(self, token: int) -> None:
        """Hand over a new token."""
        self.last = token
        self.left -= 1
        self.emit(token, self.left == 0)


class Engine:
    """One thread that runs the model. `rows` conversations at the same time have at most `longest` tokens each."""

    def __init__(self, model: Llama, rows: int, longest: int) -> None:
        self._model = model
        self._rows = rows
        self._cache = Cache(model.shape, rows, longest, model.device, model.dtype)
        self._waiting: Queue[_Row | None] = Queue()
        self._active: list[_Row] = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def write(self, ids: Sequence[int], tokens: int, emit: Emit) -> None:
        """Write `tokens` tokens after `ids`. `emit` gets each, and whether it is the last, in the engine's thread."""
        self._waiting.put(_Row(ids, tokens, emit))

    def close(self) -> None:
        """Stop when what runs is done."""
        self._waiting.put(None)
        self._thread.join()

    def _run(self) -> None:
        closing = False
        while not closing or self._active:
            new: list[_Row] = []
            with suppress(Empty):
                while len(self._active) + len(new) < self._rows:
                    row = self._waiting.get(block=not (self._active or new or closing))
                    if row is None:
                        closing = True
                        break
                    new.append(row)
            for same in _by_length(new):
                self._begin(same)
            if self._active:
                self._step()

    def _begin(self, rows: Sequence[_Row]) -> None:
        """Read prompts of one length."""
        ids = torch.tensor([list(row.ids) for row in rows], device=self._model.device)
        begin = torch.zeros(len(rows), dtype=torch.long, device=self._model.device)
        found = self._model.next(ids, begin, self._cache, len(self._active)).tolist()
        self._active += rows
        for row, token in zip(rows, found, strict=True):
            row.begin = len(row.ids)
            row.take(token)
        self._drop()

    def _step(self) -> None:
        """Write one token in each conversation."""
        device = self._model.device
        ids = torch.tensor([[row.last] for row in self._active], device=device)
        begin = torch.tensor([row.begin for row in self._active], device=device)
        for row, token in zip(self._active, self._model.next(ids, begin, self._cache, 0).tolist(), strict=True):
            row.begin += 1
            row.take(token)
        self._drop()

    def _drop(self) -> None:
        """Take out what is done: the last conversation moves to its row, so that the rows have no gaps."""
        for place in reversed(range(len(self._active))):
            if not self._active[place].left:
                last = self._active.pop()
                if place < len(self._active):
                    self._active[place] = last
                    self._cache.move(len(self._active), place)


def _by_length(rows: Sequence[_Row]) -> Sequence[Sequence[_Row]]:
    found: dict[int, list[_Row]] = {}
    for row in rows:
        found.setdefault(len(row.ids), []).append(row)
    return list(found.values())
