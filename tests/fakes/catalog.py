"""A fake of the catalogue: the models a test gives it."""

from collections.abc import Sequence
from typing import Any

from soma.model.v1 import catalog_service_pb2 as pb
from soma.model.v1.catalog_service_pb2_grpc import CatalogServiceServicer

from tests.fakes.fake import Fake


class FakeCatalog(Fake, CatalogServiceServicer):
    """Lists `models`, in their order."""

    def __init__(self, models: Sequence[pb.Model]) -> None:
        super().__init__()
        self.models = models

    async def ListModels(self, request: pb.ListModelsRequest, context: Any) -> pb.ListModelsResponse:
        await self.meet("models")
        return pb.ListModelsResponse(models=self.models)
