"""Texts that are longer than the model reads at once: read in windows, whose vectors are averaged."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from services.model.embedding.architecture import MAX_TOKENS
from services.model.embedding.batcher import Batcher
from services.model.embedding.embedder import Embeddings

# Of the model's own at the start and the end of what it reads.
_MARKS = 2


class LongTexts:
    """Embeds texts of any length by a batcher, which reads the first 256 tokens of each, and `windows`, which cuts one.

    The average counts each window by its tokens: it is what the model's own pooling would make of all tokens.
    """

    def __init__(self, batcher: Batcher, windows: Callable[[str], list[str]]) -> None:
        self._batcher = batcher
        self._windows = windows

    async def close(self) -> None:
        """See `Batcher.close`."""
        await self._batcher.close()

    async def embed(self, texts: Sequence[str]) -> Embeddings:
        """See `Embedder.embed`."""
        found = await self._batcher.embed(texts)
        # As many tokens as the model reads: there may be more of the text.
        full: list[int] = np.flatnonzero(found.tokens == MAX_TOKENS).tolist()
        if not full:
            return found
        cut = await asyncio.to_thread(lambda: [self._windows(texts[index]) for index in full])
        found = replace(found, windows=np.ones(len(texts), np.int32))
        for index, windows in zip(full, cut, strict=True):
            if len(windows) > 1:
                _average(found, index, await self._batcher.embed(windows))
        return found


def _average(found: Embeddings, index: int, windows: Embeddings) -> None:
    """Put the average of the windows where the vector of the cut text is."""
    weights = (windows.tokens - _MARKS).astype(np.float32)
    pooled = (weights * windows.norms) @ windows.vectors / weights.sum()
    norm = np.linalg.norm(pooled)
    found.vectors[index] = pooled / norm if norm else pooled
    found.norms[index] = norm
    found.tokens[index] = windows.tokens.sum()
    if found.windows is not None:
        found.windows[index] = len(windows.tokens)
