"""Models, completions and embeddings."""

from collections.abc import Sequence
from dataclasses import dataclass

from soma.model.v1 import catalog_service_pb2 as catalog
from soma.model.v1 import model_service_pb2 as pb
from soma.orchestrator.v1.chat_session_service_pb2 import ListChatModelsResponse

from somamesh.answers import Usage, from_usage
from somamesh.enums import enum_word


@dataclass(frozen=True, slots=True)
class Model:
    """A model.

    Attributes:
        default: the mesh uses it when a request names no model.
        available: it can be used now; if not, `unavailable_reason` says why.
        capabilities: `chat`, `completion`, `embedding`, `tools`, `reasoning` and others.
        context_window: tokens; 0 when not known.
        input_modalities: what it reads: `text`, `image`, `audio`, `file`, `video`; empty when not known.
    """

    name: str
    provider: str
    default: bool
    available: bool
    unavailable_reason: str
    capabilities: tuple[str, ...]
    context_window: int
    input_modalities: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Completion:
    """A text that continues a prompt; `finish_reason` is `stop` or `length`, `latency` is in seconds."""

    text: str
    model: str
    finish_reason: str
    usage: Usage
    latency: float


@dataclass(frozen=True, slots=True)
class Embeddings:
    """The vectors of texts, in the order of the texts."""

    model: str
    vectors: tuple[tuple[float, ...], ...]
    dimensions: int
    total_tokens: int


@dataclass(frozen=True, slots=True)
class TokenCount:
    """The tokens that a model would read; `estimated` if its provider does not count them."""

    model: str
    provider: str
    input_tokens: int
    estimated: bool


def from_models(response: catalog.ListModelsResponse | ListChatModelsResponse) -> list[Model]:
    """Convert the models of the catalogue."""
    return [
        Model(
            name=each.name,
            provider=each.provider,
            default=each.default,
            available=each.available,
            unavailable_reason=each.unavailable_reason,
            capabilities=tuple(enum_word(catalog.Model.Capability, kind, "unknown") for kind in each.capabilities),
            context_window=each.context_window,
            input_modalities=tuple(
                enum_word(catalog.Model.Modality, kind, "unknown") for kind in each.input_modalities
            ),
        )
        for each in response.models
    ]


def from_infer(response: pb.InferResponse) -> Completion:
    """Convert a completion."""
    return Completion(
        text=response.completion,
        model=response.model,
        finish_reason=response.finish_reason,
        usage=from_usage(response.usage),
        latency=response.latency_ms / 1000,
    )


def to_texts(texts: str | Sequence[str]) -> Sequence[str]:
    """Put a single text into a list."""
    return [texts] if isinstance(texts, str) else texts


def from_count_tokens(response: pb.CountTokensResponse) -> TokenCount:
    """Convert a number of tokens."""
    return TokenCount(response.model, response.provider, response.input_tokens, response.estimated)


def from_embed(response: pb.EmbedResponse) -> Embeddings:
    """Convert vectors; they come in the order of their texts."""
    vectors = sorted(response.vectors, key=lambda each: each.index)
    return Embeddings(
        response.model,
        tuple(tuple(each.embedding) for each in vectors),
        response.vector_length,
        response.usage.total_tokens,
    )
