"""Runs the graph in the caller's thread; texts with the same number of tokens run together."""

from collections.abc import Iterator, Sequence

import numpy as np

from services.model.embedding.architecture import HIDDEN
from services.model.embedding.artifact import Artifact
from services.model.embedding.embedder import Embeddings
from services.model.embedding.session import open_session
from services.model.embedding.tokenizer import Ids, WordPieces

# Maximum number of tokens in a run with several texts, so that the activations fit the second-level cache.
RUN_TOKENS = 256


class Engine:
    """A session that several threads may use at the same time."""

    def __init__(self, artifact: Artifact) -> None:
        self._pieces = WordPieces(artifact.tokenizer)
        self._session = open_session(artifact.model)

    def embed(self, texts: Sequence[str]) -> Embeddings:
        """The vectors of `texts`, in their order."""
        rows = self._pieces.split(texts)
        found = Embeddings(
            np.empty((len(rows), HIDDEN), np.float32), np.empty(len(rows), np.float32), np.empty(len(rows), np.int32)
        )
        for run in runs(rows):
            ids = np.array([rows[index] for index in run], np.int32)
            found.vectors[run], found.norms[run] = self._session.run(None, {"ids": ids})
            found.tokens[run] = ids.shape[1]
        return found

    def windows(self, text: str) -> list[str]:
        """The text in pieces, cut between words, that fit the model; a single piece if the whole text fits."""
        return self._pieces.windows(text)


def runs(rows: Sequence[Ids]) -> Iterator[list[int]]:
    """Groups of indices of `rows` that run together: rows of the same length, at most `RUN_TOKENS` tokens."""
    lengths: dict[int, list[int]] = {}
    for index, row in enumerate(rows):
        lengths.setdefault(len(row), []).append(index)
    for length, indices in lengths.items():
        most = max(1, RUN_TOKENS // length)
        for begin in range(0, len(indices), most):
            yield indices[begin : begin + most]
