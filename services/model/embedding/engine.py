"""Runs the graph: texts to vectors, in the caller's thread, rows of like length together."""

from collections.abc import Iterator, Sequence

import numpy as np

from services.model.embedding.architecture import HIDDEN
from services.model.embedding.artifact import Artifact
from services.model.embedding.embedder import Embeddings
from services.model.embedding.session import open_session
from services.model.embedding.tokenizer import Ids, WordPieces, pad

# Padded tokens of one run: activations then fit the second-level cache, and no text waits long for another's.
RUN_TOKENS = 256
# A run's rows are at most this much longer than its shortest, so that little of it is padding.
LONGEST_OVER_SHORTEST = 1.25


class Engine:
    """One session, which several threads may use at once."""

    def __init__(self, artifact: Artifact) -> None:
        self._pieces = WordPieces(artifact.tokenizer)
        self._session = open_session(artifact.model)

    def embed(self, texts: Sequence[str]) -> Embeddings:
        """Vectors of `texts`, in their order."""
        rows = self._pieces.split(texts)
        found = Embeddings(
            np.empty((len(rows), HIDDEN), np.float32), np.empty(len(rows), np.float32), np.empty(len(rows), np.int32)
        )
        for run in runs(rows):
            ids, lengths = pad([rows[index] for index in run])
            found.vectors[run], found.norms[run] = self._session.run(None, {"ids": ids, "lengths": lengths})
            found.tokens[run] = lengths
        return found


def runs(rows: Sequence[Ids]) -> Iterator[list[int]]:
    """Indices of `rows` in groups to run together: of like length, and few enough."""
    run: list[int] = []
    for index in sorted(range(len(rows)), key=lambda index: len(rows[index])):
        length = len(rows[index])
        if run and (length * (len(run) + 1) > RUN_TOKENS or length > len(rows[run[0]]) * LONGEST_OVER_SHORTEST + 1):
            yield run
            run = []
        run.append(index)
    if run:
        yield run
