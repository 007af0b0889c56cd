"""Sorts documents by a cross-encoder in Triton, whose server merges the pairs of concurrent callers into batches.

Such a model has the inputs `QUERY` and `DOCUMENT` (strings (n, 1)) and the outputs `SCORE` (float (n, 1)) and `TOKENS`
(int32 (n, 1)), as `triton_models/reranker` has them.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from typing import Any, NoReturn

from soma.model.v1.catalog_service_pb2 import Model
from soma.model.v1.media_service_pb2 import (
    EditImageRequest,
    GenerateImageRequest,
    GenerateImageResponse,
    SpeakRequest,
    SpeakResponse,
    TranscribeRequest,
    TranscribeResponse,
    TranscriptionFinished,
    TranslateRequest,
)
from soma.model.v1.model_service_pb2 import (
    ModerateRequest,
    ModerateResponse,
    RerankRequest,
    RerankResponse,
    RerankResult,
)

from services.model.adapters.counts import usage_of
from services.model.adapters.specialists.request import missing, unsupported
from services.model.adapters.triton.discovery import Served
from services.model.adapters.triton.server import Server
from services.model.adapters.triton.settings import NAME
from services.model.json_text import parse_object

# Batches of one call at the same time, as for vectors.
_BESIDE = 4


class Reranking:
    """The methods of the provider beside chat and vectors, of which it has one."""

    def __init__(self, server: Server, known: Callable[[str], Served], seconds: float) -> None:
        self._server = server
        self._known = known
        self._seconds = seconds

    @property
    def capabilities(self) -> "Collection[Model.Capability.ValueType]":
        return (Model.CAPABILITY_RERANK,)

    async def rerank(self, request: RerankRequest, model: str) -> RerankResponse:
        """Sort documents, the best first. The score is what the model gives: any number, higher is better.

        Raises:
            InvalidArgument: the request has `provider_params`.
            MeshError: the server or the model failed.
        """
        params = parse_object(request.provider_params, "provider_params") if request.provider_params else {}
        if params:
            raise unsupported(NAME, *(f"provider_params.{name}" for name in params))
        known = self._known(model)
        documents = request.documents
        # Documents of about the same length run together, because a batch is as long as its longest.
        order = sorted(range(len(documents)), key=lambda index: len(documents[index]))
        shares = [order[begin : begin + known.batch] for begin in range(0, len(order), known.batch)]
        turns = asyncio.Semaphore(_BESIDE)

        async def run(share: Sequence[int]) -> tuple[Sequence[float], int]:
            async with turns:
                return await self._scores(known.name, request.query, [documents[index] for index in share])

        tasks = [asyncio.ensure_future(run(share)) for share in shares]
        try:
            found = await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
        results = [
            RerankResult(index=index, relevance_score=score)
            for share, (scores, _) in zip(shares, found, strict=True)
            for index, score in zip(share, scores, strict=True)
        ]
        results.sort(key=lambda each: (-each.relevance_score, each.index))
        if request.HasField("top_n"):
            results = results[: request.top_n]
        return RerankResponse(results=results, usage=usage_of(sum(tokens for _, tokens in found), 0))

    async def _scores(self, model: str, query: str, documents: Sequence[str]) -> tuple[Sequence[float], int]:
        """The scores of a batch of documents, and the tokens that the model read."""
        # Imported here, because both take 0.2 s, also in a process that has no Triton.
        import numpy as np
        from tritonclient.grpc import InferInput

        from services.model.adapters.triton.refusal import protocol_error

        inputs = []
        for name, texts in (("QUERY", [query] * len(documents)), ("DOCUMENT", documents)):
            tensor = InferInput(name, [len(documents), 1], "BYTES")
            tensor.set_data_from_numpy(np.array([[text.encode()] for text in texts], np.object_))
            inputs.append(tensor)
        answer = await self._server.infer(model, inputs, self._seconds)
        scores: Any = answer.as_numpy("SCORE")
        if scores is None or scores.shape != (len(documents), 1) or not np.isfinite(scores).all():
            raise protocol_error(f"{model} has no SCORE for each document")
        tokens: Any = answer.as_numpy("TOKENS")
        return scores[:, 0].tolist(), int(tokens.sum()) if tokens is not None else 0

    def transcribe(self, request: TranscribeRequest, model: str) -> AsyncGenerator[TranscribeResponse, None]:
        self._refuse(model, "writes down what is said")

    async def translate(self, request: TranslateRequest, model: str) -> tuple[TranscriptionFinished, Sequence[str]]:
        self._refuse(model, "writes down in English what is said")

    def speak(self, request: SpeakRequest, model: str) -> AsyncGenerator[SpeakResponse, None]:
        self._refuse(model, "speaks a text")

    def draw(
        self, request: GenerateImageRequest | EditImageRequest, model: str
    ) -> AsyncGenerator[GenerateImageResponse, None]:
        self._refuse(model, "makes pictures")

    async def moderate(self, request: ModerateRequest, model: str) -> ModerateResponse:
        self._refuse(model, "judges texts")

    @staticmethod
    def _refuse(model: str, what: str) -> NoReturn:
        raise missing(NAME, model, what)
