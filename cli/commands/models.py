"""`soma models`: the models that a stack can use, and the GGUF files of its part `llm`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.commands.options import DataDirOption, KeyOption, UrlOption, directory, refuse_before_subcommand

if TYPE_CHECKING:
    from soma.model.v1 import catalog_service_pb2 as pb
    from soma.model.v1.catalog_service_pb2_grpc import CatalogServiceAsyncStub

    from cli.endpoint import Endpoint


models = typer.Typer(help="List the models; add or remove GGUF files.", invoke_without_command=True)


@models.callback()
def listed(
    context: typer.Context, data_dir: DataDirOption = None, url: UrlOption = None, key: KeyOption = None
) -> None:
    """List the models, the default first, with what they do and read, and their providers.

    Of models and providers that are not used, say why.
    """
    if context.invoked_subcommand is not None:
        refuse_before_subcommand(context, "data_dir", "url", "key")
        return
    import asyncio

    from cli.endpoint import find_endpoint

    asyncio.run(_list(find_endpoint(directory(data_dir), url, key)))


@models.command()
def add(
    file: Annotated[Path, typer.Argument(help="A GGUF file.")],
    name: Annotated[
        str | None, typer.Option(help="Name of the model. If not given, the file's, without its quantisation.")
    ] = None,
    data_dir: DataDirOption = None,
) -> None:
    """Check a GGUF file, load it once, and add it to the models of the data directory."""
    import asyncio

    from cli.model_files import add as add_file

    added = asyncio.run(add_file(directory(data_dir), file, name))
    size = added.facts.size / 2**20
    how = "linked, so it takes no further space" if added.linked else "copied"
    typer.echo(f"{added.name}: {added.facts.architecture}, {size:.0f} MiB, {how}")
    typer.echo(f"It answers requests that name it. To make it the default, start with SOMA_MODEL_DEFAULT={added.name}")


@models.command()
def remove(name: Annotated[str, typer.Argument(help="The model's name.")], data_dir: DataDirOption = None) -> None:
    """Remove a model that was added."""
    from cli.model_files import remove as remove_file

    remove_file(directory(data_dir), name)
    typer.echo(f"{name} removed")


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
