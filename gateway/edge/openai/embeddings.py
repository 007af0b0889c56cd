"""`POST /v1/embeddings`: vectors of ModelService.Embed, as numbers or as base64."""

import array
import asyncio
import sys
from base64 import b64encode
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson
from soma.errors.v1 import reasons
from soma.model.v1.model_service_pb2 import EmbedRequest, EmbedResponse

from gateway.edge.openai import values
from gateway.edge.reply import Reply

if TYPE_CHECKING:
    from soma.model.v1.model_service_pb2_grpc import ModelServiceAsyncStub

MEMBERS = ("model", "input", "encoding_format", "dimensions", "user")
FORMATS = ("float", "base64")
# OpenAI's limit, and the contract's.
MOST_TEXTS = 2048
MOST_AT_ONCE = 100
MOST_CHARACTERS = 512
MOST_DIMENSIONS = 1_000_000


@dataclass(frozen=True, slots=True)
class _Ask:
    model: str
    texts: list[str]
    base64: bool
    dimensions: int | None


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
        ask = _read(body)
        batches = [ask.texts[at : at + MOST_AT_ONCE] for at in range(0, len(ask.texts), MOST_AT_ONCE)]
        first = await self._embed(ask, batches[0])
        if ask.dimensions is not None and ask.dimensions != first.vector_length:
            message = (
                f"Invalid 'dimensions': the model '{first.model}' has vectors of {first.vector_length} dimensions, "
                f"and of no other length, but got {ask.dimensions} instead."
            )
            values.refuse(message, "dimensions", reasons.UNSUPPORTED_VALUE)
        found = [first, *await asyncio.gather(*(self._embed(ask, batch) for batch in batches[1:]))]
        vectors = [vector.embedding for each in found for vector in each.vectors]
        tokens = sum(each.usage.total_tokens for each in found)
        data = [
            {"object": "embedding", "index": index, "embedding": _base64(vector) if ask.base64 else list(vector)}
            for index, vector in enumerate(vectors)
        ]
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        answer = {"object": "list", "data": data, "model": first.model, "usage": usage}
        await reply.json(200, orjson.dumps(answer))

    async def _embed(self, ask: _Ask, texts: list[str]) -> EmbedResponse:
        return await self._models.Embed(EmbedRequest(model=ask.model, input=texts), timeout=self._timeout)


def _read(body: bytes | bytearray) -> _Ask:
    given = values.read_object(body, MEMBERS)
    if given.get("input") is None:
        values.missing("input")
    dimensions = given.get("dimensions")
    if given.get("user") is not None:
        values.text(given["user"], "user")
    return _Ask(
        model=values.text(given.get("model") or "", "model"),
        texts=_texts(given["input"]),
        base64=values.one_of(given.get("encoding_format") or "float", "encoding_format", FORMATS) == "base64",
        dimensions=None if dimensions is None else values.integer(dimensions, "dimensions", 1, MOST_DIMENSIONS),
    )


def _texts(value: object) -> list[str]:
    if type(value) is str:
        return [_text(value, "input")]
    texts = values.array(value, "input", most=MOST_TEXTS)
    if not texts:
        values.refuse("Invalid 'input': input cannot be an empty array.", "input", reasons.EMPTY_ARRAY)
    return [_text(text, f"input[{index}]") for index, text in enumerate(texts)]


def _text(value: object, param: str) -> str:
    if type(value) in (int, list):
        # Token numbers mean something only to the tokeniser they came from, which is no model's here.
        values.unsupported(param, f"Token numbers are not supported here: '{param}' has to be text.")
    text = values.text(value, param)
    if not text:
        values.refuse(f"Invalid '{param}': input cannot be an empty string.", param, reasons.INVALID_VALUE)
    if len(text) > MOST_CHARACTERS:
        message = (
            f"Invalid '{param}': string too long. Expected a string with maximum length {MOST_CHARACTERS}, "
            f"but got a string with length {len(text)} instead."
        )
        values.refuse(message, param, reasons.STRING_ABOVE_MAX_LENGTH)
    return text


def _base64(vector: Any) -> str:
    """32-bit floats, little-endian, as OpenAI sends them."""
    numbers = array.array("f", vector)
    if sys.byteorder == "big":
        numbers.byteswap()
    return b64encode(numbers.tobytes()).decode()
