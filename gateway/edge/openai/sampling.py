"""How tokens are sampled: the parameters that chats and completions of prompts have in common."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field
from soma.errors.v1 import reasons
from soma.model.v1.options_pb2 import Sampling
from typing_extensions import TypedDict

from gateway.edge.openai import shared
from gateway.edge.request_model import TextOr, must, strict

INT32 = 2**31
INT64 = 2**63
# Parameters that are part of the contract's Sampling.
SAMPLED = frozenset(
    {
        *("max_tokens", "max_completion_tokens", "temperature", "top_p", "top_k", "repetition_penalty"),
        *("frequency_penalty", "presence_penalty", "stop", "seed", "logprobs", "top_logprobs"),
    }
)
Penalty = Annotated[float, Field(ge=-2, le=2)]
Stop = Annotated[
    str,
    must(
        lambda text: 0 < len(text) <= 256,
        reasons.INVALID_VALUE,
        "Invalid '{param}': expected a string of 1 to 256 characters.",
    ),
]
Stops = TextOr[Stop, Annotated[list[Stop], Field(fail_fast=True, max_length=16)]]
Seed = Annotated[int, Field(ge=-INT64, le=INT64 - 1)]


@strict
class StreamOptions(TypedDict, total=False):
    """The options of a stream."""

    include_usage: bool | None
    include_obfuscation: shared.Off


def sampling_of(given: Mapping[str, Any], top_logprobs: int | None) -> Sampling | None:
    """The sampling that a request asks for; None if it asks for nothing."""
    if SAMPLED.isdisjoint(given):
        return None
    stop, seed = given.get("stop"), given.get("seed")
    sampling = Sampling(
        max_tokens=given.get("max_completion_tokens") or given.get("max_tokens"),
        temperature=given.get("temperature"),
        top_p=given.get("top_p"),
        top_k=shared.top_k_of(given.get("top_k")),
        repetition_penalty=given.get("repetition_penalty"),
        frequency_penalty=given.get("frequency_penalty"),
        presence_penalty=given.get("presence_penalty"),
        stop_sequences=[stop] if isinstance(stop, str) else stop,
        seed=None if seed is None else _folded(seed),
        top_logprobs=top_logprobs,
    )
    return sampling if sampling.ByteSize() else None


def _folded(seed: int) -> int:
    """A seed with the 32 bits of the contract. A larger seed is folded, so that equal seeds stay equal."""
    return seed if -INT32 <= seed < INT32 else (seed ^ seed >> 32) & (INT32 - 1)
