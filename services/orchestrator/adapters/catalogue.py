"""Asks the model service which models there are."""

from typing import TYPE_CHECKING

from soma.model.v1 import catalog_service_pb2 as pb

if TYPE_CHECKING:
    from soma.model.v1.catalog_service_pb2_grpc import CatalogServiceAsyncStub


class Catalogue:
    """The model service's catalogue."""

    def __init__(self, stub: "CatalogServiceAsyncStub") -> None:
        self._stub = stub

    async def chat_models(self) -> list[pb.Model]:
        """Models that generate text, the default first.

        Raises:
            AioRpcError: the model service's own error.
        """
        listed = await self._stub.ListModels(pb.ListModelsRequest())
        return [model for model in listed.models if pb.Model.CAPABILITY_CHAT in model.capabilities]
