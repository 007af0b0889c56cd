"""A word n-gram model: it counts how often a token follows the one, two or three tokens before it."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property

from services.model.tokens import pieces

# Tokens of context. With more than three, the model would only repeat a text of this size.
ORDER = 3
BEGIN = "\x02"
END = ""
# A known context counts this many times more than the next shorter one.
_TRUST = 6.0


class Chain:
    """The counts of a training text; immutable after training.

    Tokens are those of `tokens.pieces`, so joined output is text. A paragraph ends with the empty token. If no part of
    a context is known, a new paragraph begins.

    Contexts ignore case, because a prompt may have other capital letters than the training text.
    """

    def __init__(self, followers: Mapping[tuple[str, ...], Mapping[str, int]]) -> None:
        self._followers = followers

    @cached_property
    def vocabulary(self) -> frozenset[str]:
        """All tokens that it may write."""
        return frozenset(token for followers in self._followers.values() for token in followers)

    def distribution(self, context: Sequence[str]) -> dict[str, float]:
        """The probability of each token that may follow `context`; the sum is 1.

        Contexts of all lengths are combined: each known context counts six times more than the next shorter one. Tokens
        that follow none of them are left out.
        """
        blended: dict[str, float] = {}
        weight = 1.0
        for length in range(1, ORDER + 1):
            followers = self._followers.get(key(context[-length:])) if len(context) >= length else None
            if followers is None:
                break
            share = weight / sum(followers.values())
            for token, count in followers.items():
                blended[token] = blended.get(token, 0.0) + share * count
            weight *= _TRUST
        if not blended:
            blended = {token: float(count) for token, count in self._followers[BEGIN,].items()}
        whole = sum(blended.values())
        return {token: value / whole for token, value in blended.items()}


def train(text: str) -> Chain:
    """Train on a text. Empty lines separate paragraphs, and no context spans two paragraphs."""
    followers: defaultdict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
    for paragraph in text.split("\n\n"):
        tokens = pieces(" ".join(paragraph.split()))
        if not tokens:
            continue
        _count(followers, [BEGIN, f" {tokens[0]}", *tokens[1:], END])
    return Chain(dict(followers))


def key(tokens: Iterable[str]) -> tuple[str, ...]:
    """The key of a context."""
    return tuple(token.strip().lower() for token in tokens)


def _count(followers: defaultdict[tuple[str, ...], Counter[str]], tokens: Sequence[str]) -> None:
    keys = key(tokens)
    for position, token in enumerate(tokens):
        for length in range(1, min(position, ORDER) + 1):
            followers[keys[position - length : position]][token] += 1
