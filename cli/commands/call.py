"""`soma call`: call any method of the mesh by name, with JSON."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.commands.options import DataDirOption, KeyOption, UrlOption, directory

if TYPE_CHECKING:
    from cli.endpoint import Endpoint

# The exit status is this plus the status of the call: 64 + 5 is NOT_FOUND. The shell uses smaller numbers itself.
FIRST_EXIT_STATUS = 64


def call(
    method: Annotated[
        str | None,
        typer.Argument(help="Method, such as soma.memory.v1.MemoryService/Recall. Without it, all methods are listed."),
    ] = None,
    request: Annotated[str, typer.Argument(help="Request as JSON. @FILE reads a file, @- standard input.")] = "{}",
    data: Annotated[str | None, typer.Option("-d", "--data", help="The request, as an option.")] = None,
    header: Annotated[list[str] | None, typer.Option("-H", "--header", help="Metadata, `name: value`.")] = None,
    timeout: Annotated[float, typer.Option(help="Seconds the call may take.")] = 60.0,
    data_dir: DataDirOption = None,
    url: UrlOption = None,
    key: KeyOption = None,
) -> None:
    """Call a method. If it fails, print its typed error on standard error and exit with 64 + the status code."""
    import asyncio

    from cli.dynamic_call import error_to_json
    from cli.endpoint import find_endpoint
    from services.mesh.call.errors import MeshError

    text = data if data is not None else request
    if text.startswith("@"):
        text = typer.get_text_stream("stdin").read() if text == "@-" else Path(text[1:]).read_text("utf-8")
    metadata = [_pair(line) for line in header or []]
    endpoint = find_endpoint(directory(data_dir), url, key)
    try:
        asyncio.run(_call(endpoint, method, text, metadata, timeout))
    except MeshError as error:
        typer.echo(error_to_json(error), err=True)
        raise typer.Exit(FIRST_EXIT_STATUS + error.code) from error


def _pair(line: str) -> tuple[str, str]:
    name, colon, value = line.partition(":")
    if not colon:
        raise typer.BadParameter(f"{line!r} is not `name: value`")
    return name.strip().lower(), value.strip()


async def _call(
    endpoint: "Endpoint", name: str | None, text: str, metadata: list[tuple[str, str]], timeout: float
) -> None:
    from cli.dynamic_call import call as start
    from cli.dynamic_call import requests, to_json
    from cli.reflection import Reflection

    async with endpoint.channel() as channel:
        reflection = Reflection(channel)
        if name is None:
            for each in await reflection.methods():
                typer.echo(each)
            return
        method = await reflection.method(name)
        messages = requests(method, text, reflection.pool)
        # One line for each message of a stream, so that each can be read when it arrives.
        indent = None if method.server_streaming else 2
        sent = [*(pair for pair in endpoint.metadata if pair[0] not in dict(metadata)), *metadata]
        async for message in start(channel, method, messages, metadata=sent, timeout=timeout):
            typer.echo(to_json(message, reflection.pool, indent=indent))
