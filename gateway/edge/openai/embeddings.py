"""`POST /v1/embeddings`: vectors of ModelService.Embed, as numbers or as base64."""

import array
import asyncio
import sys
from base64 import b64encode
from typing import TYPE_CHECKING, Annotated, Any, Literal

import orjson
from pydantic import BeforeValidator, Field
from soma.errors.v1 import reasons
from soma.model.v1.model_service_pb2 import EmbedRequest, EmbedResponse
from typing_extensions import TypedDict

from gateway.edge.faults import refused
from gateway.edge.openai.words import BODY, missing, refuse
from gateway.edge.reply import Reply
from gateway.edge.request_model import Reader, TextOr, must, strict

if TYPE_CHECKING:
    from soma.model.v1.model_service_pb2_grpc import ModelServiceAsyncStub

# The contract's limit.
MOST_AT_ONCE = 100


def _no_tokens(value: object) -> object:
    # Token numbers are only valid for the tokeniser that made them, and no model here has OpenAI's tokenisers.
    if type(value) in (int, list):
        message = "Token numbers are not supported here: '{param}' has to be text."
        raise refused(reasons.UNSUPPORTED_PARAMETER, message)
    return value


Text = Annotated[
    str,
    Field(max_length=512),
    must(bool, reasons.INVALID_VALUE, "Invalid '{param}': input cannot be an empty string."),
    BeforeValidator(_no_tokens),
]
Texts = Annotated[
    list[Text],
    Field(fail_fast=True, max_length=2048),
    must(bool, reasons.EMPTY_ARRAY, "Invalid '{param}': input cannot be an empty array."),
]


@strict
class EmbeddingRequest(TypedDict, total=False):
    """Every parameter that may be given; null is as good as nothing given."""

    model: str | None
    input: TextOr[Text, Texts] | None
    encoding_format: Literal["float", "base64"] | None
    dimensions: Annotated[int, Field(ge=1, le=1_000_000)] | None
    user: str | None


READER = Reader(EmbeddingRequest, BODY)


class Embeddings:
    """Answers requests for vectors from a ModelService."""

    def __init__(self, models: "ModelServiceAsyncStub", timeout: float) -> None:
        self._models = models
        self._timeout = timeout

    async def answer(self, body: bytes | bytearray, reply: Reply) -> None:
        """Answer one request.

        Raises:
            InvalidArgument: names the parameter at fault.
            MeshError: the model service failed.
        """
        ask = READER.json(body)
        asked, dimensions = ask.get("input"), ask.get("dimensions")
        if asked is None:
            missing("input")
        texts = [asked] if isinstance(asked, str) else asked
        batches = [texts[at : at + MOST_AT_ONCE] for at in range(0, len(texts), MOST_AT_ONCE)]
        first = await self._embed(ask, batches[0])
        if dimensions is not None and dimensions != first.vector_length:
            message = (
                f"Invalid 'dimensions': the model '{first.model}' has vectors of {first.vector_length} dimensions, "
                f"and of no other length, but got {dimensions} instead."
            )
            refuse(message, "dimensions", reasons.UNSUPPORTED_VALUE)
        found = [first, *await asyncio.gather(*(self._embed(ask, batch) for batch in batches[1:]))]
        vectors = [vector.embedding for each in found for vector in each.vectors]
        tokens = sum(each.usage.total_tokens for each in found)
        data = [
            {
                "object": "embedding",
                "index": index,
                "embedding": _base64(vector) if ask.get("encoding_format") == "base64" else list(vector),
            }
            for index, vector in enumerate(vectors)
        ]
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        answer = {"object": "list", "data": data, "model": first.model, "usage": usage}
        await reply.json(200, orjson.dumps(answer))

    async def _embed(self, ask: EmbeddingRequest, texts: list[str]) -> EmbedResponse:
        return await self._models.Embed(EmbedRequest(model=ask.get("model") or "", input=texts), timeout=self._timeout)


def _base64(vector: Any) -> str:
    """32-bit floats, little-endian, as OpenAI sends them."""
    numbers = array.array("f", vector)
    if sys.byteorder == "big":
        numbers.byteswap()
    return b64encode(numbers.tobytes()).decode()
