"""soma.model.v1.ModelService: generations and vectors, over the catalogue of models."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from time import perf_counter
from typing import Any, TypeAlias

import grpc
from soma.model.v1 import model_service_pb2_grpc
from soma.model.v1.catalog_service_pb2 import Model
from soma.model.v1.message_pb2 import (
    FINISH_REASON_CONTENT_FILTER,
    FINISH_REASON_LENGTH,
    ROLE_USER,
    Message,
    Sampling,
    ToolChoice,
)
from soma.model.v1.model_service_pb2 import (
    EmbedRequest,
    EmbedResponse,
    GenerateRequest,
    GenerateResponse,
    InferRequest,
    InferResponse,
)

from services.mesh.call.call import principal
from services.model.catalogue import Catalogue
from services.model.embedding.embedder import Embedder
from services.model.generation import Generations, joined
from services.model.parameters import supported_request

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"

_PAGE = 50


class ModelService(model_service_pb2_grpc.ModelServiceServicer):
    """Chooses the provider of each request; embeddings come from an embedder of its own."""

    def __init__(self, catalogue: Catalogue, generations: Generations, embedder: Embedder, completer: str) -> None:
        self._catalogue = catalogue
        self._generations = generations
        self._embedder = embedder
        self._completer = completer

    async def Generate(self, request: GenerateRequest, context: Context) -> AsyncGenerator[GenerateResponse, None]:
        route = await self._catalogue.find(request.model)
        route.require(Model.CAPABILITY_CHAT, "hold a conversation")
        if request.tool_choice.mode in (ToolChoice.MODE_REQUIRED, ToolChoice.MODE_NAMED):
            route.require(Model.CAPABILITY_TOOLS, "call tools")
        supported, dropped = supported_request(request, route.provider.lacks, route.provider.name)
        async with aclosing(self._generations.run(principal(), route, supported, dropped)) as events:
            async for event in events:
                yield event

    async def Infer(self, request: InferRequest, context: Context) -> InferResponse:
        route = await self._catalogue.find(request.model or self._completer)
        route.require(Model.CAPABILITY_COMPLETION, "complete a prompt")
        text, finished = await joined(self._generations.run(principal(), route, _completion(request)))
        return InferResponse(
            model=route.model.name,
            completion=text,
            usage=finished.usage,
            finish_reason=_FINISH_NAMES.get(finished.finish_reason, "stop"),
            latency_ms=finished.duration_seconds * 1000,
        )

    async def Embed(self, request: EmbedRequest, context: Context) -> EmbedResponse:
        if request.model and request.model != self._embedder.model:
            route = await self._catalogue.find(request.model)
            route.require(Model.CAPABILITY_EMBEDDING, "embed texts")
        began = perf_counter()
        found = await self._embedder.embed(request.input)
        vectors = found.vectors
        if request.HasField("normalize") and not request.normalize:
            vectors = vectors * found.norms[:, None]
        response = EmbedResponse(model=self._embedder.model, vector_length=self._embedder.dimensions)
        for index, vector in enumerate(vectors.tolist()):
            response.vectors.add(embedding=vector, index=index)
        response.usage.total_tokens = int(found.tokens.sum())
        response.latency_ms = (perf_counter() - began) * 1000
        return response


_FINISH_NAMES = {FINISH_REASON_LENGTH: "length", FINISH_REASON_CONTENT_FILTER: "content_filter"}


def _completion(request: InferRequest) -> GenerateRequest:
    """The generation for an Infer request, with the defaults of its contract."""
    return GenerateRequest(
        messages=[Message(role=ROLE_USER, content=request.prompt)],
        sampling=Sampling(
            max_tokens=request.max_tokens if request.HasField("max_tokens") else 64,
            temperature=request.temperature if request.HasField("temperature") else 0.8,
            top_p=request.top_p if request.HasField("top_p") else 1.0,
            top_k=request.top_k if request.HasField("top_k") else 50,
            repetition_penalty=request.repetition_penalty if request.HasField("repetition_penalty") else 1.0,
            stop_sequences=request.stop_sequences,
            seed=request.seed if request.HasField("seed") else None,
        ),
    )
