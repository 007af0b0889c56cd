"""What a vendor's file says of its models: context window, prices, abilities, and the day on which that was known."""

from datetime import date
from typing import Annotated, Literal, TypeAlias

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

_STRICT = ConfigDict(extra="forbid")
# What a model reads.
Modality: TypeAlias = Literal["text", "image", "audio", "file", "video"]
Price = Annotated[float, Field(ge=0)]
Tokens = Annotated[int, Field(gt=0)]


@dataclass(frozen=True, config=_STRICT)
class Tier:
    """The prices of requests with more than `above` input tokens."""

    above: Tokens
    input: Price | None = None
    output: Price | None = None
    cached_read: Price | None = None
    cache_write: Price | None = None


@dataclass(frozen=True, config=_STRICT)
class ModelFacts:
    """What is known of the models whose names match the pattern `name`: context window, prices, abilities.

    `reads` is what they read; it is not known if it is None. `thinks` says whether they think before they answer.
    Prices are in US dollars per million tokens, or of `characters` per million characters; `image`, `minute`,
    `request` and `search` are per unit. An unknown price is None.
    """

    name: str
    context: Tokens | None = None
    reads: tuple[Modality, ...] | None = None
    thinks: bool | None = None
    input: Price | None = None
    output: Price | None = None
    cached_read: Price | None = None
    cache_write: Price | None = None
    reasoning: Price | None = None
    image: Price | None = None
    minute: Price | None = None
    request: Price | None = None
    characters: Price | None = None
    search: Price | None = None
    tiers: tuple[Tier, ...] = ()


@dataclass(frozen=True, config=_STRICT)
class Known:
    """Facts about its models on a day, and the vendor's page to compare them with. The first match counts."""

    source: str
    as_of: date
    models: tuple[ModelFacts, ...] = ()
