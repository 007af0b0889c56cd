"""How tokens are counted where the model that spent them does not say.

The models of this process count words and punctuation marks, each with the space before it. For another's model that
reported nothing, a token is taken to be four bytes of UTF-8: English comes out right within a fifth, and other
languages are not flattered.
"""

import re
from collections.abc import Iterable

_PIECE = re.compile(r"\s*(?:\w+(?:['’]\w+)*|[^\w\s])|\s+")


def pieces(text: str) -> list[str]:
    """The tokens of a text as the models of this process see it; joined, they are the text."""
    return _PIECE.findall(text)


def estimate(texts: Iterable[str]) -> int:
    """Tokens another's model would count in the texts together, roughly."""
    size = sum(len(text.encode()) for text in texts)
    return -(-size // 4)
