"""A fake of the catalogue: the models a test gives it."""

from collections.abc import Sequence
from typing import Any

from soma.model.v1 import catalog_service_pb2 as pb
from soma.model.v1.catalog_service_pb2_grpc import CatalogServiceServicer

from services.mesh.call import errors
from tests.fakes.fake import Fake


class FakeCatalog(Fake, CatalogServiceServicer):
    """Lists `models`, in their order."""

    def __init__(self, models: Sequence[pb.Model]) -> None:
        super().__init__()
        self.models = models

    async def ListModels(self, request: pb.ListModelsRequest, context: Any) -> pb.ListModelsResponse:
        await self.meet("models")
        return pb.ListModelsResponse(models=self.models)

    async def ListRepositoryModels(
        self, request: pb.ListRepositoryModelsRequest, context: Any
    ) -> pb.ListRepositoryModelsResponse:
        """It has no server with a repository."""
        raise errors.Unimplemented("this catalogue only lists models")

    async def LoadModel(self, request: pb.LoadModelRequest, context: Any) -> pb.LoadModelResponse:
        """Nor here."""
        raise errors.Unimplemented("this catalogue only lists models")

    async def UnloadModel(self, request: pb.UnloadModelRequest, context: Any) -> pb.UnloadModelResponse:
        """Nor here."""
        raise errors.Unimplemented("this catalogue only lists models")
