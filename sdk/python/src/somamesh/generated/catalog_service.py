"""Builds the calls of CatalogService; generated from soma/model/v1/catalog_service.proto."""

from soma.model.v1 import catalog_service_pb2 as pb

from somamesh import models
from somamesh.calls import Call, no_value, unary, unchanged


def list_models(*, timeout: float | None = None) -> Call[list[models.Model]]:
    """Lists every model of every provider.

    The default comes first.
    """
    request = pb.ListModelsRequest()
    return unary(
        lambda mesh: mesh.catalog_service.ListModels, request, models.from_models, repeatable=True, timeout=timeout
    )


def list_repository_models(
    *, provider: str = "", timeout: float | None = None
) -> Call[pb.ListRepositoryModelsResponse]:
    """Lists the models in the repository of a server, loaded or not.

    Args:
        provider: The provider, such as `triton`; may be empty while only one has a repository.
    """
    request = pb.ListRepositoryModelsRequest(provider=provider)
    return unary(
        lambda mesh: mesh.catalog_service.ListRepositoryModels, request, unchanged, repeatable=True, timeout=timeout
    )


def load_model(
    name: str, *, provider: str = "", configuration: str = "", timeout: float | None = None
) -> Call[pb.LoadModelResponse]:
    """Loads a model, and returns when requests can name it. It fails with FAILED_PRECONDITION and the words of the
    server when the server cannot load it.

    Args:
        name: Its name in the repository.
        provider: The provider, such as `triton`; may be empty while only one has a repository.
        configuration: A configuration, as a JSON object, that replaces the one in the repository until the model
            is unloaded; in Triton a `ModelConfig`. Empty to use the one in the repository.
    """
    request = pb.LoadModelRequest(name=name, provider=provider, configuration=configuration)
    return unary(lambda mesh: mesh.catalog_service.LoadModel, request, unchanged, repeatable=True, timeout=timeout)


def unload_model(name: str, *, provider: str = "", timeout: float | None = None) -> Call[None]:
    """Unloads a model. Requests that name it fail from then on.

    Args:
        name: Its name in the repository.
        provider: The provider, such as `triton`; may be empty while only one has a repository.
    """
    request = pb.UnloadModelRequest(name=name, provider=provider)
    return unary(lambda mesh: mesh.catalog_service.UnloadModel, request, no_value, repeatable=True, timeout=timeout)
