"""A fake of a model service that embeds and counts tokens; vectors are made by a rule that a test can foresee."""

import math
import re
import zlib
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, TypeAlias

from soma.model.v1 import model_service_pb2 as pb
from soma.model.v1.model_service_pb2_grpc import ModelServiceServicer

from services.mesh.call import errors
from services.mesh.call.call import principal
from tests.fakes.fake import Fake

Rule: TypeAlias = Callable[[str, int], Sequence[float]]
"""The vector of a text that is at a place among the texts of its call."""

DIMENSIONS = 384
_EMPTY_WORDS = frozenset(
    ("a", "an", "and", "are", "do", "from", "how", "in", "is", "it", "my", "of", "on", "the", "what", "where", "who")
)


class FakeEmbedder(Fake, ModelServiceServicer):
    """Embeds; every text is one token. Of a conversation, every message is a token.

    Attributes:
        name: of the model.
        vector: makes the vectors, all of one length; `by_words` unless a test says otherwise.
        refuses: a text with this in it is an invalid argument; empty for none.
        windows: in how many it says that it read each text.
        requests: of all calls.
        callers: tenant and subject of each.
        counted: the requests for the tokens of a conversation.
        estimates: whether it says that such a number is estimated.
    """

    def __init__(self, name: str = "words", vector: Rule | None = None) -> None:
        super().__init__()
        self.name = name
        self.vector = vector or by_words(DIMENSIONS)
        self.refuses = ""
        self.windows = 1
        self.requests: list[pb.EmbedRequest] = []
        self.callers: list[tuple[str, str]] = []
        self.counted: list[pb.CountTokensRequest] = []
        self.estimates = False

    @property
    def asked(self) -> list[list[str]]:
        """The texts of each call."""
        return [list(request.input) for request in self.requests]

    def release(self) -> None:
        """Let the calls that are held be answered."""
        if self.held is not None:
            self.held.set()

    async def Generate(self, request: pb.GenerateRequest, context: Any) -> AsyncIterator[pb.GenerateResponse]:
        """No text comes from here."""
        raise errors.Unimplemented("this model only embeds")
        yield

    async def Infer(self, request: pb.InferRequest, context: Any) -> pb.InferResponse:
        """Nor here."""
        raise errors.Unimplemented("this model only embeds")

    async def CountTokens(self, request: pb.CountTokensRequest, context: Any) -> pb.CountTokensResponse:
        self.counted.append(request)
        tokens = len(request.messages)
        return pb.CountTokensResponse(
            model=request.model, provider="local", input_tokens=tokens, estimated=self.estimates
        )

    async def Moderate(self, request: pb.ModerateRequest, context: Any) -> pb.ModerateResponse:
        """It judges nothing."""
        raise errors.Unimplemented("this model only embeds")

    async def Rerank(self, request: pb.RerankRequest, context: Any) -> pb.RerankResponse:
        """It sorts nothing."""
        raise errors.Unimplemented("this model only embeds")

    async def Embed(self, request: pb.EmbedRequest, context: Any) -> pb.EmbedResponse:
        self.requests.append(request)
        self.callers.append((principal().tenant_id, principal().subject))
        await self.meet("embed")
        if self.refuses and any(self.refuses in text for text in request.input):
            raise errors.InvalidArgument("this text is refused")
        response = pb.EmbedResponse(model=self.name)
        # Token numbers stand for a text with a character each.
        texts = list(request.input) or ["#" * len(each.numbers) for each in request.tokens]
        for place, text in enumerate(texts):
            response.vectors.add(index=place, embedding=self.vector(text, place), windows=self.windows)
        response.vector_length = len(response.vectors[0].embedding)
        response.usage.total_tokens = len(response.vectors)
        return response


def by_words(dimensions: int) -> Rule:
    """Vectors of length 1 that count words: texts which share words are near each other."""

    def vector(text: str, _place: int) -> list[float]:
        counts = [0.0] * dimensions
        for word in words(text):
            counts[zlib.crc32(word.encode()) % dimensions] += 1.0
        length = math.sqrt(sum(count * count for count in counts))
        return [count / length for count in counts] if length else [1.0, *counts[1:]]

    return vector


def words(text: str) -> list[str]:
    """The words that count, without a plural s."""
    return [word.rstrip("s") for word in re.findall(r"\w+", text.lower()) if word not in _EMPTY_WORDS]
