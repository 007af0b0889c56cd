"""`POST /v1/embeddings`: vectors from ModelService.Embed, as numbers or as base64."""

import array
import asyncio
import sys
from base64 import b64encode
from typing import TYPE_CHECKING, Annotated, Any, Literal

import orjson
from pydantic import Discriminator, Field, Tag
from soma.errors.v1 import reasons
from soma.model.v1.model_service_pb2 import EmbedRequest, EmbedResponse, TokenNumbers
from typing_extensions import TypedDict

from gateway.edge.openai.words import BODY, missing, refuse
from gateway.edge.reply import Reply
from gateway.edge.request_model import Reader, must, strict

if TYPE_CHECKING:
    from soma.model.v1.model_service_pb2_grpc import ModelServiceAsyncStub

# The contract's limit.
MOST_AT_ONCE = 100
# The header with the largest number of windows of a text, if it is more than one.
WINDOWS = b"somamesh-embedding-windows"


def _branch(value: object) -> str:
    """The form of an input: a text or token numbers, for one text or for several."""
    first = value[0] if type(value) is list and value else None
    kinds = {list: "union:token_lists", int: "union:tokens"}
    return "union:text" if type(value) is str else kinds.get(type(first), "union:texts")


_not_empty = must(bool, reasons.EMPTY_ARRAY, "Invalid '{param}': input cannot be an empty array.")
Text = Annotated[
    str,
    Field(max_length=131_072),
    must(bool, reasons.INVALID_VALUE, "Invalid '{param}': input cannot be an empty string."),
]
Tokens = Annotated[
    list[Annotated[int, Field(ge=0, le=2**31 - 1)]], Field(fail_fast=True, max_length=131_072), _not_empty
]
Input = Annotated[
    Annotated[Text, Tag("union:text")]
    | Annotated[list[Text], Field(fail_fast=True, max_length=2048), _not_empty, Tag("union:texts")]
    | Annotated[Tokens, Tag("union:tokens")]
    | Annotated[list[Tokens], Field(fail_fast=True, max_length=2048), Tag("union:token_lists")],
    Discriminator(_branch),
]


@strict
class EmbeddingRequest(TypedDict, total=False):
    """All permitted parameters; null is the same as an absent parameter."""

    model: str | None
    input: Input | None
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
            InvalidArgument: a parameter is not valid; the error names it.
            MeshError: the model service failed.
        """
        ask = READER.json(body)
        asked, dimensions = ask.get("input"), ask.get("dimensions")
        if asked is None:
            missing("input")
        requests = _requests(ask, asked)
        first = await self._embed(requests[0])
        if dimensions is not None and dimensions != first.vector_length:
            message = (
                f"Invalid 'dimensions': the model '{first.model}' has vectors of {first.vector_length} dimensions, "
                f"and of no other length, but got {dimensions} instead."
            )
            refuse(message, "dimensions", reasons.UNSUPPORTED_VALUE)
        found = [first, *await asyncio.gather(*map(self._embed, requests[1:]))]
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
        windows = max((vector.windows for each in found for vector in each.vectors), default=0)
        await reply.json(200, orjson.dumps(answer), [(WINDOWS, b"%d" % windows)] if windows > 1 else ())

    async def _embed(self, request: EmbedRequest) -> EmbedResponse:
        return await self._models.Embed(request, timeout=self._timeout)


def _requests(ask: EmbeddingRequest, asked: str | list[str] | list[int] | list[list[int]]) -> list[EmbedRequest]:
    """The calls that a request needs, each with at most MOST_AT_ONCE texts."""
    several: list[Any] = asked if isinstance(asked, list) and not isinstance(asked[0], int) else [asked]
    requests = []
    for begin in range(0, len(several), MOST_AT_ONCE):
        some = several[begin : begin + MOST_AT_ONCE]
        request = EmbedRequest(model=ask.get("model") or "", dimensions=ask.get("dimensions"))
        if isinstance(some[0], str):
            request.input.extend(some)
        else:
            request.tokens.extend(TokenNumbers(numbers=numbers) for numbers in some)
        requests.append(request)
    return requests


def _base64(vector: Any) -> str:
    """32-bit floats, little-endian, as OpenAI sends them."""
    numbers = array.array("f", vector)
    if sys.byteorder == "big":
        numbers.byteswap()
    return b64encode(numbers.tobytes()).decode()
