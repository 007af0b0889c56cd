"""Embeds texts that are too long for the model: it reads them in windows, and the vectors are averaged."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from services.model.embedding.architecture import MAX_TOKENS
from services.model.embedding.batcher import Batcher
from services.model.embedding.embedder import Embeddings

# Each window has a start token and an end token.
_MARKS = 2


class LongTexts:
    """Embeds texts of any length. `windows` cuts a text, and the batcher embeds up to 256 tokens of each piece.

    The average is weighted by the tokens of each window, because the model's own pooling is the mean of all tokens.
    """

    def __init__(self, batcher: Batcher, windows: Callable[[str], list[str]]) -> None:
        self._batcher = batcher
        self._windows = windows

    async def close(self) -> None:
        """Refuse the waiting texts, and wait for the running batches."""
        await self._batcher.close()

    async def embed(self, texts: Sequence[str]) -> Embeddings:
        """The vectors of `texts`; that of a text with several windows is the average of theirs.

        Raises:
            ResourceExhausted: too many texts are waiting.
            Unavailable: the embedder is closing.
        """
        found = await self._batcher.embed(texts)
        # The model read its maximum number of tokens, so the text may be longer.
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
    """Replace the vector of the cut text by the average of its windows."""
    weights = (windows.tokens - _MARKS).astype(np.float32)
    pooled = (weights * windows.norms) @ windows.vectors / weights.sum()
    norm = np.linalg.norm(pooled)
    found.vectors[index] = pooled / norm if norm else pooled
    found.norms[index] = norm
    found.tokens[index] = windows.tokens.sum()
    if found.windows is not None:
        found.windows[index] = len(windows.tokens)
