"""`soma triton`: the models in the repository of NVIDIA Triton: shows, loads and unloads them, and writes new ones."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.commands.options import DataDirOption, KeyOption, UrlOption, directory, refuse_before_subcommand

if TYPE_CHECKING:
    from soma.model.v1.catalog_service_pb2_grpc import CatalogServiceAsyncStub

    from cli.endpoint import Endpoint

PROVIDER = "triton"
CALL_SECONDS = 30.0
# A large model takes minutes.
LOADING_SECONDS = 600.0

triton = typer.Typer(
    help="Show the models in the repository of NVIDIA Triton, load and unload them, and write repositories."
)

NameArgument = Annotated[str, typer.Argument(help="The model's name in the repository, as soma triton shows it.")]


@triton.callback(invoke_without_command=True)
def show(
    context: typer.Context,
    data_dir: DataDirOption = None,
    url: UrlOption = None,
    key: KeyOption = None,
) -> None:
    """List the models of the repository, loaded or not."""
    if context.invoked_subcommand is not None:
        refuse_before_subcommand(context, "data_dir", "url", "key")
        return
    import asyncio

    from cli.endpoint import find_endpoint

    asyncio.run(_list(find_endpoint(directory(data_dir), url, key)))


@triton.command()
def load(
    name: NameArgument,
    configuration: Annotated[
        Path | None,
        typer.Option(
            "--config", help="JSON file with a ModelConfig, used instead of the model's until it is unloaded."
        ),
    ] = None,
    data_dir: DataDirOption = None,
    url: UrlOption = None,
    key: KeyOption = None,
) -> None:
    """Load a model, or load it again."""
    import asyncio

    from cli.endpoint import find_endpoint
    from services.mesh.call.errors import InvalidArgument

    text = ""
    if configuration is not None:
        try:
            text = configuration.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidArgument(f"--config: {configuration} cannot be read: {error}") from error
    asyncio.run(_load(find_endpoint(directory(data_dir), url, key), name, text))


@triton.command()
def render(
    settings: Annotated[Path, typer.Argument(help="TOML file with a table for each model; see docs/triton.md.")],
    repository: Annotated[Path, typer.Argument(help="Folder of the model repository; made if there is none.")],
    replace: Annotated[bool, typer.Option("--replace", help="Replace models of the same names.")] = False,
) -> None:
    """Write models for a Triton elsewhere, such as one with GPUs. No server is asked."""
    from services.model.adapters.triton.deployment.rendering import render

    for name in render(settings, repository, replace=replace):
        typer.echo(repository / name)


@triton.command()
def unload(name: NameArgument, data_dir: DataDirOption = None, url: UrlOption = None, key: KeyOption = None) -> None:
    """Unload a model. The requests that it has are answered before."""
    import asyncio

    from cli.endpoint import find_endpoint

    asyncio.run(_unload(find_endpoint(directory(data_dir), url, key), name))


async def _list(endpoint: "Endpoint") -> None:
    from soma.model.v1 import catalog_service_pb2 as pb
    from soma.model.v1.catalog_service_pb2_grpc import CatalogServiceStub

    from cli.table import aligned

    async with endpoint.channel() as channel:
        stub: CatalogServiceAsyncStub = CatalogServiceStub(channel)
        answer = await stub.ListRepositoryModels(
            pb.ListRepositoryModelsRequest(provider=PROVIDER), metadata=endpoint.metadata, timeout=CALL_SECONDS
        )
    rows = [("name", "state", "in requests", "")]
    rows += [
        (each.name, "loaded" if each.loaded else "not loaded", each.model or "-", each.reason) for each in answer.models
    ]
    typer.echo("\n".join(aligned(rows)))


async def _load(endpoint: "Endpoint", name: str, configuration: str) -> None:
    from soma.model.v1 import catalog_service_pb2 as pb
    from soma.model.v1.catalog_service_pb2_grpc import CatalogServiceStub

    async with endpoint.channel() as channel:
        stub: CatalogServiceAsyncStub = CatalogServiceStub(channel)
        request = pb.LoadModelRequest(name=name, provider=PROVIDER, configuration=configuration)
        answer = await stub.LoadModel(request, metadata=endpoint.metadata, timeout=LOADING_SECONDS)
    typer.echo(f"Loaded {name}" + (f"; requests name it {answer.model.model}." if answer.model.model else "."))


async def _unload(endpoint: "Endpoint", name: str) -> None:
    from soma.model.v1 import catalog_service_pb2 as pb
    from soma.model.v1.catalog_service_pb2_grpc import CatalogServiceStub

    async with endpoint.channel() as channel:
        stub: CatalogServiceAsyncStub = CatalogServiceStub(channel)
        request = pb.UnloadModelRequest(name=name, provider=PROVIDER)
        await stub.UnloadModel(request, metadata=endpoint.metadata, timeout=CALL_SECONDS)
    typer.echo(f"Unloaded {name}.")
