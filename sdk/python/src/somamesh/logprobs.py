"""The probabilities of an answer's tokens."""

from collections.abc import Iterable
from dataclasses import dataclass

from soma.model.v1 import message_pb2 as model


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """A token, and the natural logarithm of its probability.

    Attributes:
        utf8: the token's bytes, if the provider gives them; a token may be only a part of a character.
        top: the most likely tokens at this position, most likely first; their own `top` is empty.
    """

    token: str
    logprob: float
    utf8: bytes = b""
    top: "tuple[TokenLogprob, ...]" = ()


def from_logprobs(given: Iterable[model.TokenLogprob]) -> tuple[TokenLogprob, ...]:
    """Convert the tokens and their probabilities."""
    return tuple(TokenLogprob(each.token, each.logprob, each.utf8, from_logprobs(each.top)) for each in given)
