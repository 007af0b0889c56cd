"""The servicers of soma.model.v1: generations, vectors and tokens, the catalogue of models, and the usage records."""

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
    CountTokensRequest,
    CountTokensResponse,
    EmbedRequest,
    EmbedResponse,
    GenerateRequest,
    GenerateResponse,
    InferRequest,
    InferResponse,
    ModerateRequest,
    ModerateResponse,
    RerankRequest,
    RerankResponse,
)
from soma.model.v1.options_pb2 import Completion, GenerationOptions, Sampling, ToolChoice

from services.mesh.call import page_token
from services.mesh.call.call import principal
from services.mesh.call.pipeline import Context
from services.model.adapters.local import LocalProvider
from services.model.allowed_tools import require_known
from services.model.catalogue import Catalogue, Route
from services.model.completion import WITHOUT_METHOD, require_prompt
from services.model.generation import Generations, answer_of
from services.model.judging import Judging
from services.model.native_params import is_native, settled
from services.model.parameters import supported_request
from services.model.provider import Completes, Counts, Excludes
from services.model.specialists import Specialists
from services.model.store import UsageStore
from services.model.tokens import estimated_prompt
from services.model.vectors import Vectors, require_texts

# Usage records in a page, if the request does not say.
_PAGE_SIZE = 50


class ModelService(model_service_pb2_grpc.ModelServiceServicer):
    """Chooses who answers each request: a provider or, for vectors, the model of this process."""

    def __init__(
        self, catalogue: Catalogue, generations: Generations, vectors: Vectors, judging: Judging, completer: str
    ) -> None:
        self._catalogue = catalogue
        self._specialists = Specialists(catalogue)
        self._generations = generations
        self._vectors = vectors
        self._judging = judging
        self._completer = completer

    async def Generate(self, request: GenerateRequest, context: Context) -> AsyncGenerator[GenerateResponse, None]:
        route, supported, dropped = await self._accepted(request)
        async with aclosing(self._generations.run(principal(), route, supported, dropped)) as events:
            async for event in events:
                yield event

    async def CountTokens(self, request: CountTokensRequest, context: Context) -> CountTokensResponse:
        asked = GenerateRequest(model=request.model, messages=request.messages, options=request.options)
        route, supported, _ = await self._accepted(asked)
        provider, model = route.provider, route.model.name
        counted = await provider.count_tokens(supported, model) if isinstance(provider, Counts) else None
        return CountTokensResponse(
            model=model,
            provider=provider.name,
            input_tokens=estimated_prompt(supported) if counted is None else counted,
            estimated=counted is None,
        )

    async def _accepted(self, request: GenerateRequest) -> tuple[Route, GenerateRequest, list[str]]:
        """Who answers, the request as its provider supports it, and the fields that were dropped for that.

        Raises:
            MeshError: there is no such model, or it cannot do what the request asks for.
        """
        route = await self._catalogue.find(request.model)
        if request.options.HasField("completion"):
            require_prompt(request)
            _require_completing(route)
        else:
            route.require(Model.CAPABILITY_CHAT, "hold a conversation")
        if request.options.tool_choice.mode in (ToolChoice.MODE_REQUIRED, ToolChoice.MODE_NAMED):
            route.require(Model.CAPABILITY_TOOLS, "call tools")
        require_known(request.options)
        self._catalogue.require_reading(route, request.messages)
        supported, dropped = _supported(route, request)
        return route, supported, dropped

    async def Infer(self, request: InferRequest, context: Context) -> InferResponse:
        route = await self._catalogue.find(request.model or self._completer)
        route.require(Model.CAPABILITY_COMPLETION, "complete a prompt")
        asked = _completion(request)
        # What the caller asks for is refused if the provider lacks it, and the defaults of this method are left out.
        _supported(route, asked)
        _set_defaults(asked.options.sampling)
        asked.options.drop_params = True
        supported, _ = _supported(route, asked)
        answer = await answer_of(self._generations.run(principal(), route, supported))
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

    async def Moderate(self, request: ModerateRequest, context: Context) -> ModerateResponse:
        route = await self._specialists.find(request.model, Model.CAPABILITY_MODERATION, "judge texts")
        return await self._judging.moderate(principal(), route, request)

    async def Rerank(self, request: RerankRequest, context: Context) -> RerankResponse:
        route = await self._specialists.find(request.model, Model.CAPABILITY_RERANK, "sort texts")
        return await self._judging.rerank(principal(), route, request)


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
        after = page_token.read(request, datetime, str)
        found = await self._usage.list_usage(principal().tenant_id, request.conversation_id, after, limit + 1)
        records, token = page_token.cut(
            request, found, limit, lambda last: (last.start_time.ToDatetime(tzinfo=UTC), last.generation_id)
        )
        return ListUsageResponse(records=records, next_page_token=token)


@cache
def _excludes(kind: type[object]) -> bool:
    """Whether providers of a class are `Excludes`; to look takes 8 µs."""
    return issubclass(kind, Excludes)


def _require_completing(route: Route) -> None:
    """Refuse a model that neither completes a prompt nor answers one."""
    if Model.CAPABILITY_CHAT not in route.model.capabilities:
        route.require(Model.CAPABILITY_COMPLETION, "complete a prompt")


def _supported(route: Route, request: GenerateRequest) -> tuple[GenerateRequest, list[str]]:
    """The request without what the route does not support, and the fields that were dropped.

    Raises:
        InvalidArgument: see `supported_request`.
    """
    provider = route.provider
    # In its own protocol the provider itself judges the parameters.
    takes = None if is_native(request, route) else provider.takes
    request = settled(request, route)
    lacks = set(provider.lacks)
    if request.options.HasField("completion"):
        method = provider.completing(route.model.name) if isinstance(provider, Completes) else None
        if method is None:
            lacks |= WITHOUT_METHOD
        else:
            lacks, takes = set(method.unsupported), method.takes
    if _excludes(type(provider)):
        lacks |= set(cast(Excludes, provider).excluded(request, route.model.name))
    return supported_request(request, lacks, provider.name, takes)


_FINISH_NAMES = {FINISH_REASON_LENGTH: "length", FINISH_REASON_CONTENT_FILTER: "content_filter"}


def _completion(request: InferRequest) -> GenerateRequest:
    """The generation for an Infer request."""
    return GenerateRequest(
        messages=[Message(role=ROLE_USER, content=request.prompt)],
        options=GenerationOptions(
            completion=Completion(),
            sampling=Sampling(
                max_tokens=request.max_tokens if request.HasField("max_tokens") else None,
                temperature=request.temperature if request.HasField("temperature") else None,
                top_p=request.top_p if request.HasField("top_p") else None,
                top_k=request.top_k if request.HasField("top_k") else None,
                repetition_penalty=request.repetition_penalty if request.HasField("repetition_penalty") else None,
                stop_sequences=request.stop_sequences,
                seed=request.seed if request.HasField("seed") else None,
            ),
            whole=True,
        ),
    )


def _set_defaults(sampling: Sampling) -> None:
    """Set the defaults of the contract of Infer. Those of `top_p` and `repetition_penalty` have no effect."""
    given = Sampling()
    given.CopyFrom(sampling)
    sampling.CopyFrom(Sampling(max_tokens=64, temperature=0.8, top_k=50))
    sampling.MergeFrom(given)
