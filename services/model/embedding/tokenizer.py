"""MiniLM's word pieces: texts to rows of token ids."""

from collections.abc import Sequence
from pathlib import Path

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
