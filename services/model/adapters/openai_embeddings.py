"""Gets vectors from a vendor's server (https://platform.openai.com/docs/api-reference/embeddings/create)."""

from base64 import b64decode
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from soma.errors.v1 import reasons
from soma.model.v1.model_service_pb2 import EmbedRequest, EmbedResponse

from services.mesh.call import errors
from services.model.adapters import refusal
from services.model.adapters.counts import count, member
from services.model.adapters.upstream import Upstream
from services.model.vendor import Embeddings

_ODD = (AttributeError, KeyError, TypeError, ValueError, IndexError)


async def embedded(
    upstream: Upstream, method: Embeddings, path: str, request: EmbedRequest, model: str
) -> EmbedResponse:
    """The vectors of a request. If it has more texts than the vendor allows in one call, there are several calls.

    Raises:
        InvalidArgument: the vendor accepts no token numbers, or has a fixed number of dimensions.
        MeshError: the vendor failed, or its answer has no vector for each text.
    """
    inputs: Sequence[Any] = list(request.input) or [list(each.numbers) for each in request.tokens]
    body = {"model": model, **method.extra, **_asked(upstream.name, method, request)}
    response = EmbedResponse(model=model)
    for begin in range(0, len(inputs), method.most_texts):
        some = list(inputs[begin : begin + method.most_texts])
        answer = await upstream.post(path, {**body, "input": some})
        try:
            vectors = _vectors(answer, len(some))
        except _ODD as error:
            raise refusal.protocol_error(upstream.name, "its answer has no vector for each text") from error
        if request.normalize:
            vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.finfo(np.float32).tiny)
        for index, vector in enumerate(vectors.tolist(), begin):
            response.vectors.add(embedding=vector, index=index)
        response.vector_length = vectors.shape[1]
        usage = member(answer, "usage")
        response.usage.total_tokens += count(member(usage, "total_tokens")) or count(member(usage, "prompt_tokens"))
    return response


def _asked(provider: str, method: Embeddings, request: EmbedRequest) -> dict[str, Any]:
    if request.tokens and not method.tokens:
        raise _unsupported(provider, "tokens", "takes no token numbers, only text")
    if not request.HasField("dimensions"):
        return {}
    if not method.dimensions:
        raise _unsupported(provider, "dimensions", "makes vectors of one length only")
    return {method.dimensions: request.dimensions}


def _vectors(answer: Any, texts: int) -> NDArray[np.float32]:
    """The vectors of an answer, float32 of shape (texts, dimensions), in the order of the texts.

    Raises:
        AttributeError, KeyError, TypeError, ValueError, IndexError: the answer has another shape.
    """
    entries = answer["data"]
    ordered = sorted(entries, key=lambda entry: entry.get("index", 0))
    vectors = np.array([_vector(entry["embedding"]) for entry in ordered], np.float32)
    if vectors.ndim != 2 or len(vectors) != texts or not vectors.shape[1] or not np.isfinite(vectors).all():
        raise ValueError("another shape")
    return vectors


def _vector(value: Any) -> Any:
    """The numbers of a vector; a text is base64 of 32-bit floats."""
    return np.frombuffer(b64decode(value, validate=True), "<f4") if isinstance(value, str) else value


def _unsupported(provider: str, field: str, why: str) -> errors.InvalidArgument:
    return errors.InvalidArgument(
        f"{provider} {why}",
        reason=reasons.PARAMETER_NOT_SUPPORTED,
        metadata={"provider": provider},
        violations=[errors.FieldViolation(field, why)],
    )
