"""The servicers of soma.model.v1: generations and vectors, the catalogue of models, and the usage records."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import UTC, datetime
from functools import cache
from typing import cast

from soma.model.v1 import catalog_service_pb2_grpc, cost_service_pb2_grpc, model_service_pb2_grpc
from soma.model.v1.catalog_service_pb2 import (
    ListModelsRequest,
    ListModelsResponse,
    ListRepositoryModelsRequest,
    ListRepositoryModelsResponse,
    LoadModelRequest,
    LoadModelResponse,
    Model,
    UnloadModelRequest,
    UnloadModelResponse,
)
from soma.model.v1.cost_service_pb2 import ListUsageRequest, ListUsageResponse
from soma.model.v1.message_pb2 import FINISH_REASON_CONTENT_FILTER, FINISH_REASON_LENGTH, ROLE_USER, Message
from soma.model.v1.model_service_pb2 import (
    EmbedRequest,
    EmbedResponse,
    GenerateRequest,
    GenerateResponse,
    InferRequest,
    InferResponse,
)
from soma.model.v1.options_pb2 import GenerationOptions, Sampling, ToolChoice

from services.mesh.call import page_token
from services.mesh.call.call import principal
from services.mesh.call.pipeline import Context
from services.model.adapters.local import LocalProvider
from services.model.catalogue import Catalogue
from services.model.generation import Generations, answer_of
from services.model.parameters import supported_request
from services.model.provider import Excludes
from services.model.store import PageStart, UsageStore
from services.model.vectors import Vectors, require_texts

# Usage records in a page, if the request does not say.
_PAGE_SIZE = 50


class ModelService(model_service_pb2_grpc.ModelServiceServicer):
    """Chooses who answers each request: a provider or, for vectors, the model of this process."""

    def __init__(self, catalogue: Catalogue, generations: Generations, vectors: Vectors, completer: str) -> None:
        self._catalogue = catalogue
        self._generations = generations
        self._vectors = vectors
        self._completer = completer

    async def Generate(self, request: GenerateRequest, context: Context) -> AsyncGenerator[GenerateResponse, None]:
        route = await self._catalogue.find(request.model)
        route.require(Model.CAPABILITY_CHAT, "hold a conversation")
        if request.options.tool_choice.mode in (ToolChoice.MODE_REQUIRED, ToolChoice.MODE_NAMED):
            route.require(Model.CAPABILITY_TOOLS, "call tools")
        self._catalogue.require_reading(route, request.messages)
        provider = route.provider
        lacks = set(provider.lacks)
        if _excludes(type(provider)):
            lacks |= set(cast(Excludes, provider).excluded(request, route.model.name))
        supported, dropped = supported_request(request, lacks, provider.name, provider.takes)
        async with aclosing(self._generations.run(principal(), route, supported, dropped)) as events:
            async for event in events:
                yield event

    async def Infer(self, request: InferRequest, context: Context) -> InferResponse:
        route = await self._catalogue.find(request.model or self._completer)
        route.require(Model.CAPABILITY_COMPLETION, "complete a prompt")
        answer = await answer_of(self._generations.run(principal(), route, _completion(request)))
        finished = answer.finished
        return InferResponse(
            model=route.model.name,
            completion=answer.delta.text,
            usage=finished.usage,
            finish_reason=_FINISH_NAMES.get(finished.finish_reason, "stop"),
            latency_ms=finished.duration_seconds * 1000,
        )

    async def Embed(self, request: EmbedRequest, context: Context) -> EmbedResponse:
        require_texts(request)
        if not request.model or request.model == self._vectors.model:
            return await self._vectors.local(request)
        route = await self._catalogue.find(request.model)
        route.require(Model.CAPABILITY_EMBEDDING, "embed texts")
        if route.model.name == self._vectors.model and route.provider.name == LocalProvider.name:
            return await self._vectors.local(request)
        return await self._vectors.remote(principal(), route, request)


class CatalogService(catalog_service_pb2_grpc.CatalogServiceServicer):
    """Lists the models that requests can name, and the providers, and has models loaded."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue

    async def ListModels(self, request: ListModelsRequest, context: Context) -> ListModelsResponse:
        models = await self._catalogue.listed()
        return ListModelsResponse(models=models, providers=self._catalogue.providers())

    async def ListRepositoryModels(
        self, request: ListRepositoryModelsRequest, context: Context
    ) -> ListRepositoryModelsResponse:
        loader = self._catalogue.loading(request.provider)
        return ListRepositoryModelsResponse(provider=loader.name, models=await loader.provider.repository())

    async def LoadModel(self, request: LoadModelRequest, context: Context) -> LoadModelResponse:
        loader = self._catalogue.loading(request.provider)
        return LoadModelResponse(model=await loader.load(request.name, request.configuration))

    async def UnloadModel(self, request: UnloadModelRequest, context: Context) -> UnloadModelResponse:
        await self._catalogue.loading(request.provider).unload(request.name)
        return UnloadModelResponse()


class CostService(cost_service_pb2_grpc.CostServiceServicer):
    """Lists the usage records of the caller's tenant."""

    def __init__(self, usage: UsageStore) -> None:
        self._usage = usage

    async def ListUsage(self, request: ListUsageRequest, context: Context) -> ListUsageResponse:
        limit = request.page_size or _PAGE_SIZE
        place = page_token.read(request, datetime, str)
        after = PageStart(*place) if place else None
        # One more than the page shows whether there is a next one.
        records = await self._usage.list_usage(principal().tenant_id, request.conversation_id, after, limit + 1)
        response = ListUsageResponse(records=records[:limit])
        if len(records) > limit:
            last = response.records[-1]
            began = last.start_time.ToDatetime(tzinfo=UTC)
            response.next_page_token = page_token.write(request, began, last.generation_id)
        return response


@cache
def _excludes(kind: type[object]) -> bool:
    """Whether providers of a class are `Excludes`; to look takes 8 µs."""
    return issubclass(kind, Excludes)


_FINISH_NAMES = {FINISH_REASON_LENGTH: "length", FINISH_REASON_CONTENT_FILTER: "content_filter"}


def _completion(request: InferRequest) -> GenerateRequest:
    """The generation for an Infer request, with the defaults of its contract."""
    return GenerateRequest(
        messages=[Message(role=ROLE_USER, content=request.prompt)],
        options=GenerationOptions(
            sampling=Sampling(
                max_tokens=request.max_tokens if request.HasField("max_tokens") else 64,
                temperature=request.temperature if request.HasField("temperature") else 0.8,
                top_p=request.top_p if request.HasField("top_p") else 1.0,
                top_k=request.top_k if request.HasField("top_k") else 50,
                repetition_penalty=request.repetition_penalty if request.HasField("repetition_penalty") else 1.0,
                stop_sequences=request.stop_sequences,
                seed=request.seed if request.HasField("seed") else None,
            ),
            whole=True,
        ),
    )
