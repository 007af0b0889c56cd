"""`GET /v1/models` and `GET /v1/models/{id}`: the mesh's catalogue in the form of OpenAI's list of models."""

from typing import TYPE_CHECKING, Any

import orjson
from soma.errors.v1 import reasons
from soma.model.v1.catalog_service_pb2 import ListModelsRequest, Model

from gateway.edge.reply import Reply
from services.mesh.call.errors import FieldViolation, NotFound

if TYPE_CHECKING:
    from soma.model.v1.catalog_service_pb2_grpc import CatalogServiceAsyncStub


class Models:
    """Answers requests for models from a CatalogService."""

    def __init__(self, catalog: "CatalogServiceAsyncStub", timeout: float) -> None:
        self._catalog = catalog
        self._timeout = timeout

    async def list_models(self, reply: Reply) -> None:
        """Answer with all models, the default model first."""
        models = [_model(each) for each in await self._models()]
        await reply.json(200, orjson.dumps({"object": "list", "data": models}))

    async def retrieve(self, name: str, reply: Reply) -> None:
        """Answer with the model of this name.

        Raises:
            NotFound: MODEL_NOT_FOUND.
        """
        for each in await self._models():
            if each.name == name:
                await reply.json(200, orjson.dumps(_model(each)))
                return
        message = f"The model '{name}' does not exist or you do not have access to it."
        raise NotFound(message, reason=reasons.MODEL_NOT_FOUND, violations=[FieldViolation("model", message)])

    async def _models(self) -> list[Model]:
        response = await self._catalog.ListModels(ListModelsRequest(), timeout=self._timeout)
        return list(response.models)


def _model(model: Model) -> dict[str, Any]:
    return {
        "id": model.name,
        "object": "model",
        "created": model.create_time.seconds,
        "owned_by": model.owned_by or model.provider,
    }
