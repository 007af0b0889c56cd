"""A word n-gram model: how often a token followed the one, two and three before it."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property

from services.model.tokens import pieces

# Tokens of context; beyond three, a text of this size only recites.
ORDER = 3
BEGIN = "\x02"
END = ""
# A longer context that was seen counts this many times more than the next shorter one.
_TRUST = 6.0


class Chain:
    """Counts of one training text; immutable once trained.

    Tokens are what `tokens.pieces` says, so that joined output is text. A paragraph ends with the empty token, and one
    begins where nothing of the context was ever seen.
    Contexts ignore case: a prompt need not be capitalised as the training text is.
    """

    def __init__(self, followers: Mapping[tuple[str, ...], Mapping[str, int]]) -> None:
        self._followers = followers

    @cached_property
    def vocabulary(self) -> frozenset[str]:
        """Every token it may write."""
        return frozenset(token for followers in self._followers.values() for token in followers)

    def distribution(self, context: Sequence[str]) -> dict[str, float]:
        """Probability of each token that may follow `context`; they sum to 1.

        Orders are blended: each longer context that was seen weighs six times the shorter, and tokens seen after none
        of them are left out.
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
    """Count a text; paragraphs are separated by empty lines and know nothing of each other."""
    followers: defaultdict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
    for paragraph in text.split("\n\n"):
        tokens = pieces(" ".join(paragraph.split()))
        if not tokens:
            continue
        _count(followers, [BEGIN, f" {tokens[0]}", *tokens[1:], END])
    return Chain(dict(followers))


def key(tokens: Iterable[str]) -> tuple[str, ...]:
    """A context as it is looked up."""
    return tuple(token.strip().lower() for token in tokens)


def _count(followers: defaultdict[tuple[str, ...], Counter[str]], tokens: Sequence[str]) -> None:
    keys = key(tokens)
    for position, token in enumerate(tokens):
        for length in range(1, min(position, ORDER) + 1):
            followers[keys[position - length : position]][token] += 1
