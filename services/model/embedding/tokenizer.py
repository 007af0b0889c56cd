"""MiniLM's tokenizer: it converts texts into rows of token ids."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from tokenizers import Tokenizer

from services.model.embedding.architecture import MAX_TOKENS

Ids = list[int]
# Tokens of text in a window; the other two are its start and end tokens.
_ROOM = MAX_TOKENS - 2


class WordPieces:
    """Tokenises with a `tokenizer.json`. `split` cuts texts after 256 tokens, as in the training of the model."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._tokenizer = Tokenizer.from_file(str(path))
        # The file sets padding and 128 tokens. Both come from its exporter, not from the model.
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(MAX_TOKENS)

    def split(self, texts: Sequence[str]) -> list[Ids]:
        """The token ids of each text, with the start and end tokens."""
        return [encoding.ids for encoding in self._tokenizer.encode_batch_fast(list(texts))]

    def windows(self, text: str) -> list[str]:
        """The text in pieces, cut between words, that fit the model; a single piece if the whole text fits."""
        encoding = self._whole.encode(text, add_special_tokens=False)
        words, offsets = encoding.word_ids, encoding.offsets
        found, begin = [], 0
        while begin < len(words):
            end = min(begin + _ROOM, len(words))
            # No word is longer than a window, because the tokenizer makes one unknown token of a very long word.
            while end < len(words) and words[end] == words[end - 1]:
                end -= 1
            found.append(text[offsets[begin][0] : offsets[end - 1][1]])
            begin = end
        return found or [text]

    @cached_property
    def _whole(self) -> Tokenizer:
        """The tokenizer without a limit of tokens; only long texts need it."""
        tokenizer = Tokenizer.from_file(str(self._path))
        tokenizer.no_padding()
        tokenizer.no_truncation()
        return tokenizer
