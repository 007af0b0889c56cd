"""Builds the calls of ModelService; generated from soma/model/v1/model_service.proto."""

from collections.abc import Sequence
from typing import Literal

from soma.model.v1 import model_service_pb2 as pb
from soma.model.v1 import options_pb2

from somamesh import models
from somamesh.calls import Call, unary, unchanged
from somamesh.enums import enum_value


def infer(
    prompt: str,
    *,
    max_tokens: int | None = None,
    temperature: float | None = None,
    top_p: float | None = None,
    top_k: int | None = None,
    repetition_penalty: float | None = None,
    stop_sequences: Sequence[str] = (),
    seed: int | None = None,
    model: str = "",
    timeout: float | None = None,
) -> Call[models.Completion]:
    """Returns a local model's completion of a prompt.

    Each attempt costs tokens, so it is never retried automatically.

    Args:
        prompt: Text to continue.
        max_tokens: Most tokens to generate; 64 when unset.
        temperature: Temperature: a higher value makes the output more random; 0.8 when unset.
        top_p: Nucleus sampling: only the likeliest tokens that together have this probability are considered; 1
            when unset.
        top_k: Only this number of the likeliest tokens is considered; 50 when unset.
        repetition_penalty: Penalty on tokens that already occurred; 1 when unset.
        stop_sequences: Texts that end generation.
        seed: Seed: equal seeds give equal output.
        model: Model; `somasuite-markov-v1` when empty.
    """
    request = pb.InferRequest(
        prompt=prompt,
        max_tokens=max_tokens,
        temperature=temperature,
        top_p=top_p,
        top_k=top_k,
        repetition_penalty=repetition_penalty,
        stop_sequences=stop_sequences,
        seed=seed,
        model=model,
    )
    return unary(
        lambda mesh: mesh.model_service.Infer, request, models.from_infer, repeatable=False, timeout=timeout, slow=True
    )


def embed(
    texts: str | Sequence[str] = (),
    *,
    model: str = "",
    normalize: bool | None = None,
    tokens: Sequence[pb.TokenNumbers] = (),
    dimensions: int | None = None,
    urgency: Literal["interactive", "background"] | None = None,
    timeout: float | None = None,
) -> Call[models.Embeddings]:
    """Returns the vectors of texts.

    Args:
        texts: Texts. The local model reads a long one in windows; providers have limits of their own.
        model: Model; `somasuite-embed-v1` when empty.
        normalize: Whether vectors have length 1; true when unset. Vectors of providers are as the provider makes
            them when unset.
        tokens: Texts as token numbers, for models of providers that take them.
        dimensions: Number of coordinates of each vector; the model's own when unset. Not every model has another.
        urgency: Whether somebody waits for the vectors. `interactive`: Somebody waits. `background`: Nobody
            waits: a batch, an index, a response that is made in the background. It may wait long behind the
            others.
    """
    request = pb.EmbedRequest(
        input=models.to_texts(texts),
        model=model,
        normalize=normalize,
        tokens=tokens,
        dimensions=dimensions,
        urgency=enum_value(options_pb2.Urgency, urgency),
    )
    return unary(lambda mesh: mesh.model_service.Embed, request, models.from_embed, repeatable=True, timeout=timeout)


def moderate(
    inputs: Sequence[pb.ModerationInput], *, model: str = "", provider_params: str = "", timeout: float | None = None
) -> Call[pb.ModerateResponse]:
    """Says whether texts and pictures may be shown.

    Args:
        inputs: What is to be judged. Each has a result of its own.
        model: Name of the model as the catalogue lists it; empty for the first that can.
        provider_params: Parameters that this contract has no field for, as a JSON object; its members reach the
            provider as they are.
    """
    request = pb.ModerateRequest(inputs=inputs, model=model, provider_params=provider_params)
    return unary(lambda mesh: mesh.model_service.Moderate, request, unchanged, repeatable=False, timeout=timeout)


def rerank(
    query: str,
    documents: Sequence[str],
    *,
    model: str = "",
    top_n: int | None = None,
    provider_params: str = "",
    timeout: float | None = None,
) -> Call[pb.RerankResponse]:
    """Sorts documents by how well they fit a question.

    Args:
        query: The question.
        documents: The documents.
        model: Name of the model as the catalogue lists it; empty for the first that can.
        top_n: How many of the best are wanted; all when unset.
        provider_params: Parameters that this contract has no field for, as a JSON object; its members reach the
            provider as they are, such as `max_tokens_per_doc`. A member that the contract has a field for is
            refused.
    """
    request = pb.RerankRequest(
        query=query, documents=documents, model=model, top_n=top_n, provider_params=provider_params
    )
    return unary(lambda mesh: mesh.model_service.Rerank, request, unchanged, repeatable=False, timeout=timeout)
