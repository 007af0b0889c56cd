"""Builds the calls of CatalogService; generated from soma/model/v1/catalog_service.proto."""

from soma.model.v1 import catalog_service_pb2 as pb

from somamesh import models
from somamesh.calls import Call, unary


def list_models(*, timeout: float | None = None) -> Call[list[models.Model]]:
    """Lists every model of every provider.

    The default comes first.
    """
    request = pb.ListModelsRequest()
    return unary(
        lambda mesh: mesh.catalog_service.ListModels, request, models.from_models, repeatable=True, timeout=timeout
    )
