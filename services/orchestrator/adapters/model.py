"""Asks the model service for generations, and for the models there are."""

from collections.abc import AsyncGenerator, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING

from soma.errors.v1 import reasons
from soma.model.v1 import catalog_service_pb2, model_service_pb2

from services.mesh.call import errors

if TYPE_CHECKING:
    from soma.model.v1.catalog_service_pb2_grpc import CatalogServiceAsyncStub
    from soma.model.v1.model_service_pb2_grpc import ModelServiceAsyncStub


class Models:
    """Generates text; a reader who leaves a stream before its end cancels the generation."""

    def __init__(self, stub: "ModelServiceAsyncStub") -> None:
        self._stub = stub

    async def generate(
        self, request: model_service_pb2.GenerateRequest
    ) -> AsyncGenerator[model_service_pb2.GenerateResponse, None]:
        """The events of one generation.

        Raises:
            MeshError: the error of the model service, before the first event or after it.
        """
        stream = self._stub.Generate(request)
        finished: model_service_pb2.GenerateResponse | None = None
        try:
            async for event in stream:
                kind = event.WhichOneof("payload")
                if kind == "finished" or kind == "answer":
                    # It is held back until the stream has ended: its reader reads no further, which would cancel a
                    # successful call.
                    finished = event
                elif kind != "error":
                    # The typed error is for clients that cannot see the status; here the status follows as an error.
                    yield event
        finally:
            stream.cancel()
        if finished is not None:
            yield finished

    async def count(self, request: model_service_pb2.CountTokensRequest) -> model_service_pb2.CountTokensResponse:
        """The number of tokens that a model would read.

        Raises:
            MeshError: the error of the model service.
        """
        return await self._stub.CountTokens(request)


class ChatModels:
    """The models that hold conversations, from the catalogue of the model service."""

    def __init__(self, stub: "CatalogServiceAsyncStub") -> None:
        self._stub = stub

    async def list(self) -> list[catalog_service_pb2.Model]:
        """The models, the default first.

        Raises:
            MeshError: the error of the model service.
        """
        listed = await self._stub.ListModels(catalog_service_pb2.ListModelsRequest())
        return [model for model in listed.models if _can_chat(model)]

    async def require(self, name: str) -> None:
        """Refuse a model that cannot chat; the name may be `model`, `provider/model`, or empty for the default.

        Raises:
            NotFound: MODEL_NOT_FOUND: there is no such model.
            InvalidArgument: MODEL_CAPABILITY_MISSING: the model does not hold conversations.
            MeshError: the error of the model service; it is then unknown whether the model exists.
        """
        models = (await self._stub.ListModels(catalog_service_pb2.ListModelsRequest())).models
        found = [each for each in models if _is_named(each, name)]
        if not found:
            raise _unknown(name, [each.name for each in models if _can_chat(each)])
        if not any(_can_chat(each) for each in found):
            raise errors.InvalidArgument(
                f"the model `{found[0].name}` cannot hold a conversation",
                reason=reasons.MODEL_CAPABILITY_MISSING,
                metadata={"model": found[0].name, "capability": "CAPABILITY_CHAT"},
            )


def _is_named(model: catalog_service_pb2.Model, name: str) -> bool:
    return name in (model.name, f"{model.provider}/{model.name}") if name else model.default


def _can_chat(model: catalog_service_pb2.Model) -> bool:
    return catalog_service_pb2.Model.CAPABILITY_CHAT in model.capabilities


def _unknown(name: str, names: Sequence[str]) -> errors.NotFound:
    close = get_close_matches(name, names, n=3, cutoff=0.4) or names[:5]
    what = f"there is no model `{name}`" if name else "the configured default model is not there; name one"
    there = f"; there are: {', '.join(close)}" if close else ""
    return errors.NotFound(f"{what}{there}", reason=reasons.MODEL_NOT_FOUND, metadata={"model": name})
