"""`POST /v1/embeddings`: vectors of ModelService.Embed, as numbers or as base64."""

import array
import asyncio
import sys
from base64 import b64encode
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson
from soma.errors.v1 import reasons
from soma.model.v1.model_service_pb2 import EmbedRequest, EmbedResponse, TokenNumbers

from gateway.edge.openai import values
from gateway.edge.reply import Reply

if TYPE_CHECKING:
    from soma.model.v1.model_service_pb2_grpc import ModelServiceAsyncStub

MEMBERS = ("model", "input", "encoding_format", "dimensions", "user")
FORMATS = ("float", "base64")
# OpenAI's limit, and the contract's.
MOST_TEXTS = 2048
MOST_AT_ONCE = 100
MOST_CHARACTERS = 131_072
MOST_TOKENS = 131_072
MOST_NUMBER = 2**31 - 1
MOST_DIMENSIONS = 1_000_000
# Says in how many windows the longest text was read, where that is more than one.
WINDOWS = b"somamesh-embedding-windows"


@dataclass(frozen=True, slots=True)
class Ask:
    """A request: texts, or token numbers of texts, and how their vectors are wanted."""

    model: str
    texts: list[str]
    tokens: list[list[int]]
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
        ask = read(body)
        first = await self._embed(ask, 0)
        if ask.dimensions is not None and ask.dimensions != first.vector_length:
            message = (
                f"Invalid 'dimensions': the model '{first.model}' has vectors of {first.vector_length} dimensions, "
                f"and of no other length, but got {ask.dimensions} instead."
            )
            values.refuse(message, "dimensions", reasons.UNSUPPORTED_VALUE)
        others = range(MOST_AT_ONCE, len(ask.texts or ask.tokens), MOST_AT_ONCE)
        found = [first, *await asyncio.gather(*(self._embed(ask, begin) for begin in others))]
        vectors = [vector.embedding for each in found for vector in each.vectors]
        tokens = sum(each.usage.total_tokens for each in found)
        data = [
            {"object": "embedding", "index": index, "embedding": _base64(vector) if ask.base64 else list(vector)}
            for index, vector in enumerate(vectors)
        ]
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        answer = {"object": "list", "data": data, "model": first.model, "usage": usage}
        windows = max((vector.windows for each in found for vector in each.vectors), default=0)
        await reply.json(200, orjson.dumps(answer), [(WINDOWS, b"%d" % windows)] if windows > 1 else ())

    async def _embed(self, ask: Ask, begin: int) -> EmbedResponse:
        """The vectors of the texts from `begin` on, as many as one call may ask for."""
        some = slice(begin, begin + MOST_AT_ONCE)
        tokens = [TokenNumbers(numbers=numbers) for numbers in ask.tokens[some]]
        request = EmbedRequest(model=ask.model, input=ask.texts[some], tokens=tokens, dimensions=ask.dimensions)
        return await self._models.Embed(request, timeout=self._timeout)


def read(body: bytes | bytearray) -> Ask:
    """What a request asks for.

    Raises:
        InvalidArgument: names the parameter at fault.
    """
    given = values.read_object(body, MEMBERS)
    if given.get("input") is None:
        values.missing("input")
    dimensions = given.get("dimensions")
    if given.get("user") is not None:
        values.text(given["user"], "user")
    texts, tokens = _input(given["input"])
    return Ask(
        model=values.text(given.get("model") or "", "model"),
        texts=texts,
        tokens=tokens,
        base64=values.one_of(given.get("encoding_format") or "float", "encoding_format", FORMATS) == "base64",
        dimensions=None if dimensions is None else values.integer(dimensions, "dimensions", 1, MOST_DIMENSIONS),
    )


def _input(value: object) -> tuple[list[str], list[list[int]]]:
    """Texts, or token numbers of texts: of one, or of several."""
    if type(value) is str:
        return [_text(value, "input")], []
    if type(value) is list and value and type(value[0]) is int:
        return [], [_numbers(value, "input")]
    several = values.array(value, "input", most=MOST_TEXTS)
    if not several:
        values.refuse("Invalid 'input': input cannot be an empty array.", "input", reasons.EMPTY_ARRAY)
    if type(several[0]) is list:
        return [], [_numbers(each, f"input[{index}]") for index, each in enumerate(several)]
    return [_text(text, f"input[{index}]") for index, text in enumerate(several)], []


def _numbers(value: object, param: str) -> list[int]:
    numbers = values.array(value, param, most=MOST_TOKENS)
    if not numbers:
        values.refuse(f"Invalid '{param}': input cannot be an empty array.", param, reasons.EMPTY_ARRAY)
    return [values.integer(each, f"{param}[{index}]", 0, MOST_NUMBER) for index, each in enumerate(numbers)]


def _text(value: object, param: str) -> str:
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
