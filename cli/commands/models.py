"""`soma models`: the models that a stack can use."""

from typing import TYPE_CHECKING

import typer

from cli.commands.options import DataDirOption, KeyOption, UrlOption, directory

if TYPE_CHECKING:
    from soma.model.v1 import catalog_service_pb2 as pb
    from soma.model.v1.catalog_service_pb2_grpc import CatalogServiceAsyncStub

    from cli.endpoint import Endpoint


def models(data_dir: DataDirOption = None, url: UrlOption = None, key: KeyOption = None) -> None:
    """List the models, the default first, with what they do and read, and their providers.

    Of models and providers that are not used, say why.
    """
    import asyncio

    from cli.endpoint import find_endpoint

    asyncio.run(_list(find_endpoint(directory(data_dir), url, key)))


async def _list(endpoint: "Endpoint") -> None:
    from soma.model.v1 import catalog_service_pb2 as pb
    from soma.model.v1.catalog_service_pb2_grpc import CatalogServiceStub

    from cli.table import aligned

    async with endpoint.channel() as channel:
        stub: CatalogServiceAsyncStub = CatalogServiceStub(channel)
        answer = await stub.ListModels(pb.ListModelsRequest(), metadata=endpoint.metadata, timeout=30.0)
    rows = [("model", "provider", "can", "reads", "")]
    for model in answer.models:
        can = [pb.Model.Capability.Name(kind).removeprefix("CAPABILITY_").lower() for kind in model.capabilities]
        reads = [pb.Model.Modality.Name(kind).removeprefix("MODALITY_").lower() for kind in model.input_modalities]
        note = "default" if model.default else "" if model.available else model.unavailable_reason or "unavailable"
        rows.append((model.name, model.provider, ", ".join(can), ", ".join(reads), note))
    typer.echo("\n".join(aligned(rows)))
    if answer.providers:
        typer.echo("\n" + "\n".join(aligned([("provider", "vendor", "models", ""), *map(_provider, answer.providers)])))


def _provider(provider: "pb.Provider") -> tuple[str, str, str, str]:
    from soma.model.v1 import catalog_service_pb2 as pb

    state = pb.Provider.State.Name(provider.state).removeprefix("STATE_").lower().replace("_", " ")
    note = state if not provider.reason else f"{state}: {provider.reason}"
    return provider.name, provider.title, str(provider.models or ""), note
