"""The models there are, and what they do in one call."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from soma.model.v1 import catalog_service_pb2 as catalog
from soma.model.v1 import model_service_pb2 as pb

from somamesh.answers import Usage, from_usage
from somamesh.calls import Call, unary

CAPABILITIES: dict[int, str] = {
    number: name.removeprefix("CAPABILITY_").lower() for name, number in catalog.Model.Capability.items()
}


@dataclass(frozen=True, slots=True)
class Model:
    """A model.

    Attributes:
        default: it answers when none is named.
        available: it can be used now; one that cannot says why in `unavailable_reason`.
        capabilities: `chat`, `completion`, `embedding`, `tools`.
        context_window: tokens; 0 when not known.
    """

    name: str
    provider: str
    default: bool
    available: bool
    unavailable_reason: str
    capabilities: tuple[str, ...]
    context_window: int


@dataclass(frozen=True, slots=True)
class Completion:
    """A text that goes on from a prompt; `finish_reason` is `stop` or `length`, `latency` in seconds."""

    text: str
    model: str
    finish_reason: str
    usage: Usage
    latency: float


@dataclass(frozen=True, slots=True)
class Embeddings:
    """Vectors of texts, in their order."""

    model: str
    vectors: tuple[tuple[float, ...], ...]
    dimensions: int
    total_tokens: int


def list_models(*, timeout: float | None = None) -> Call[list[Model]]:
    """The models there are, the default first."""

    def read(response: catalog.ListModelsResponse) -> list[Model]:
        return from_models(response.models)

    request = catalog.ListModelsRequest()
    return unary(lambda mesh: mesh.catalog.ListModels, request, read, repeatable=True, timeout=timeout)


def infer(
    prompt: str,
    *,
    model: str = "",
    max_tokens: int | None = None,
    temperature: float | None = None,
    top_p: float | None = None,
    top_k: int | None = None,
    repetition_penalty: float | None = None,
    stop_sequences: Sequence[str] = (),
    seed: int | None = None,
    timeout: float | None = None,
) -> Call[Completion]:
    """Have a model go on from a prompt. It costs tokens each time, so it is never made again by itself."""
    request = pb.InferRequest(
        prompt=prompt,
        model=model,
        max_tokens=max_tokens,
        temperature=temperature,
        top_p=top_p,
        top_k=top_k,
        repetition_penalty=repetition_penalty,
        stop_sequences=stop_sequences,
        seed=seed,
    )
    return unary(lambda mesh: mesh.model.Infer, request, _completed, repeatable=False, timeout=timeout, slow=True)


def embed(
    texts: str | Sequence[str], *, model: str = "", normalize: bool | None = None, timeout: float | None = None
) -> Call[Embeddings]:
    """Vectors of a text, or of up to 100.

    Args:
        normalize: whether each has length 1; so it is when None.
    """
    request = pb.EmbedRequest(input=[texts] if isinstance(texts, str) else texts, model=model, normalize=normalize)
    return unary(lambda mesh: mesh.model.Embed, request, _embedded, repeatable=True, timeout=timeout)


def from_models(models: Iterable[catalog.Model]) -> list[Model]:
    """Models as the catalogue lists them."""
    return [
        Model(
            name=each.name,
            provider=each.provider,
            default=each.default,
            available=each.available,
            unavailable_reason=each.unavailable_reason,
            capabilities=tuple(CAPABILITIES.get(kind, "unknown") for kind in each.capabilities),
            context_window=each.context_window,
        )
        for each in models
    ]


def _completed(response: pb.InferResponse) -> Completion:
    return Completion(
        text=response.completion,
        model=response.model,
        finish_reason=response.finish_reason,
        usage=from_usage(response.usage),
        latency=response.latency_ms / 1000,
    )


def _embedded(response: pb.EmbedResponse) -> Embeddings:
    vectors = sorted(response.vectors, key=lambda each: each.index)
    return Embeddings(
        response.model,
        tuple(tuple(each.embedding) for each in vectors),
        response.vector_length,
        response.usage.total_tokens,
    )
