"""soma.model.v1.CatalogService over the catalogue."""

from soma.model.v1 import catalog_service_pb2_grpc
from soma.model.v1.catalog_service_pb2 import ListModelsRequest, ListModelsResponse

from services.mesh.call.pipeline import Context
from services.model.catalogue import Catalogue


class CatalogService(catalog_service_pb2_grpc.CatalogServiceServicer):
    """Lists the models that requests can name, and the providers."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue

    async def ListModels(self, request: ListModelsRequest, context: Context) -> ListModelsResponse:
        models = await self._catalogue.listed()
        return ListModelsResponse(models=models, providers=self._catalogue.providers())
