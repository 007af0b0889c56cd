"""Builds the calls of ModelService; generated from soma/model/v1/model_service.proto."""

from collections.abc import Sequence

from soma.model.v1 import model_service_pb2 as pb

from somamesh import models
from somamesh.calls import Call, unary


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
    """
    request = pb.EmbedRequest(
        input=models.to_texts(texts), model=model, normalize=normalize, tokens=tokens, dimensions=dimensions
    )
    return unary(lambda mesh: mesh.model_service.Embed, request, models.from_embed, repeatable=True, timeout=timeout)
