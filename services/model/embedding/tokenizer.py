"""MiniLM's word pieces: texts to padded rows of token ids."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from services.model.embedding.architecture import MAX_TOKENS

Ids = list[int]


class WordPieces:
    """Tokenises by a `tokenizer.json`; texts beyond 256 tokens are cut, as the model was trained."""

    def __init__(self, path: Path) -> None:
        self._tokenizer = Tokenizer.from_file(str(path))
        # The file asks for 128 tokens, padded; both are the exporter's, not the model's.
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(MAX_TOKENS)

    def split(self, texts: Sequence[str]) -> list[Ids]:
        """Token ids of each text, start and end marks included."""
        return [encoding.ids for encoding in self._tokenizer.encode_batch_fast(list(texts))]


def pad(rows: Sequence[Ids]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Rows as one array (n, longest), zero where a row has ended, and the length of each."""
    lengths = np.array([len(row) for row in rows], np.int32)
    ids = np.zeros((len(rows), int(lengths.max())), np.int32)
    for index, row in enumerate(rows):
        ids[index, : len(row)] = row
    return ids, lengths
