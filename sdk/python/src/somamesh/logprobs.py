"""How likely the tokens of an answer were."""

from collections.abc import Iterable
from dataclasses import dataclass

from soma.model.v1 import message_pb2 as model


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """A token, and the natural logarithm of its probability.

    Attributes:
        utf8: the token's bytes, where the provider gives them: a token may be a part of a character.
        top: the likeliest tokens at its place, likeliest first; they have none of their own.
    """

    token: str
    logprob: float
    utf8: bytes = b""
    top: "tuple[TokenLogprob, ...]" = ()


def from_logprobs(given: Iterable[model.TokenLogprob]) -> tuple[TokenLogprob, ...]:
    """Tokens as the mesh tells of them."""
    return tuple(TokenLogprob(each.token, each.logprob, each.utf8, from_logprobs(each.top)) for each in given)
