"""MiniLM's tokenizer: it converts texts into rows of token ids."""

from collections.abc import Sequence
from pathlib import Path

from tokenizers import Tokenizer

from services.model.embedding.architecture import MAX_TOKENS

Ids = list[int]


class WordPieces:
    """Tokenises with a `tokenizer.json`. Texts are cut after 256 tokens, as in the training of the model."""

    def __init__(self, path: Path) -> None:
        self._tokenizer = Tokenizer.from_file(str(path))
        # The file sets padding and 128 tokens. Both come from its exporter, not from the model.
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(MAX_TOKENS)

    def split(self, texts: Sequence[str]) -> list[Ids]:
        """The token ids of each text, with the start and end tokens."""
        return [encoding.ids for encoding in self._tokenizer.encode_batch_fast(list(texts))]
