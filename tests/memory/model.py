"""A model service of words: texts that share words have near vectors, so a test shows what it expects."""

import asyncio
import math
import re
import zlib
from collections.abc import AsyncIterator, Iterable
from typing import Any

from soma.model.v1 import model_service_pb2 as pb
from soma.model.v1 import model_service_pb2_grpc as rpc

from services.memory.embedder import DIMENSIONS
from services.mesh.call import errors
from services.mesh.call.call import principal

_EMPTY_WORDS = frozenset(
    ("a", "an", "and", "are", "do", "from", "how", "in", "is", "it", "my", "of", "on", "the", "what", "where", "who")
)


class WordModel(rpc.ModelServiceServicer):
    """Embeds by counting words.

    Attributes:
        fails: what Embed raises instead; None to answer.
        refuses: a text with this in it is an invalid argument.
        answering: cleared, Embed hangs.
        dimensions: of its vectors.
        asked: the texts of each call.
        callers: tenant and subject of each call.
    """

    def __init__(self) -> None:
        self.fails: errors.MeshError | None = None
        self.refuses = ""
        self.dimensions = DIMENSIONS
        self.answering = asyncio.Event()
        self.answering.set()
        self.asked: list[list[str]] = []
        self.callers: list[tuple[str, str]] = []

    async def Generate(self, request: pb.GenerateRequest, context: Any) -> AsyncIterator[pb.GenerateResponse]:
        """Not what memory calls."""
        raise errors.Unimplemented("no text comes from here")
        yield

    async def Infer(self, request: pb.InferRequest, context: Any) -> pb.InferResponse:
        """Not what memory calls."""
        raise errors.Unimplemented("no text comes from here")

    async def Embed(self, request: pb.EmbedRequest, context: Any) -> pb.EmbedResponse:
        """Vectors of length 1."""
        self.asked.append(list(request.input))
        self.callers.append((principal().tenant_id, principal().subject))
        await self.answering.wait()
        if self.fails is not None:
            raise self.fails
        if self.refuses and any(self.refuses in text for text in request.input):
            raise errors.InvalidArgument("this text is refused")
        response = pb.EmbedResponse(model="words", vector_length=self.dimensions)
        for index, text in enumerate(request.input):
            response.vectors.add(index=index, embedding=_vector(words(text), self.dimensions))
        return response


def words(text: str) -> list[str]:
    """The words that count, without a plural s."""
    return [word.rstrip("s") for word in re.findall(r"\w+", text.lower()) if word not in _EMPTY_WORDS]


def _vector(counted: Iterable[str], dimensions: int) -> list[float]:
    vector = [0.0] * dimensions
    for word in counted:
        vector[zlib.crc32(word.encode()) % dimensions] += 1.0
    length = math.sqrt(sum(x * x for x in vector))
    return [x / length for x in vector] if length else [1.0, *vector[1:]]
