"""`soma chat`: send one message to a stack, or hold a conversation."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from cli.commands.options import DataDirOption, KeyOption, UrlOption, directory

if TYPE_CHECKING:
    from soma.model.v1.message_pb2 import Media

    from cli.conversation import Conversation, Printer
    from cli.endpoint import Endpoint


def chat(
    message: Annotated[str | None, typer.Argument(help="One message. Without it, a conversation begins.")] = None,
    conversation: Annotated[str, typer.Option(help="Id of the conversation to begin or continue.")] = "",
    model: Annotated[str, typer.Option(help="The model. The stack's default if not given.")] = "",
    image: Annotated[
        list[str] | None, typer.Option(help="Picture to send with the first message: a file or an address.")
    ] = None,
    data_dir: DataDirOption = None,
    url: UrlOption = None,
    key: KeyOption = None,
) -> None:
    """Chat with a model through the mesh.

    The answer goes to standard output; the thoughts of the model and all else go to standard error.
    """
    import asyncio
    import uuid

    from cli.endpoint import find_endpoint

    if message is None and not sys.stdin.isatty():
        message = sys.stdin.read().strip()
    interactive = message is None
    if interactive and not conversation:
        conversation = str(uuid.uuid4())
    pictures = [_picture(source) for source in image or ()]
    endpoint = find_endpoint(directory(data_dir), url, key)
    try:
        asyncio.run(_chat(endpoint, message, pictures, conversation, model))
    except KeyboardInterrupt:
        typer.echo(err=True)
    if interactive:
        typer.echo(f"continue with: soma chat --conversation {conversation}", err=True)


def _picture(source: str) -> "Media":
    """The picture in a file or at an address.

    Raises:
        BadParameter: the file cannot be read, or its name does not say that it is a picture.
    """
    import mimetypes
    from pathlib import Path

    from soma.model.v1.message_pb2 import Media

    if source.startswith(("http://", "https://")):
        return Media(url=source)
    path = Path(source)
    media_type = mimetypes.guess_type(path.name)[0] or ""
    if not media_type.startswith("image/"):
        raise typer.BadParameter(f"{source} has no name of a picture, such as cat.png", param_hint="--image")
    try:
        return Media(data=path.read_bytes(), media_type=media_type, name=path.name)
    except OSError as error:
        raise typer.BadParameter(f"{source}: {error.strerror}", param_hint="--image") from None


async def _chat(
    endpoint: "Endpoint", message: str | None, pictures: Sequence["Media"], conversation_id: str, model: str
) -> None:
    from cli.conversation import Conversation, Printer

    printer = Printer(
        text=lambda text: typer.echo(text, nl=False),
        thought=lambda text: typer.secho(text, nl=False, dim=True, err=True),
        note=lambda note: typer.secho(f"\n[{note}]", nl=False, dim=True, err=True),
    )
    async with endpoint.channel() as channel:
        conversation = Conversation(channel, endpoint.metadata, conversation_id=conversation_id, model=model)
        if message is None:
            await _converse(conversation, printer, pictures)
        else:
            await _turn(conversation, message, printer, pictures)


async def _turn(
    conversation: "Conversation", message: str, printer: "Printer", pictures: Sequence["Media"] = ()
) -> None:
    try:
        await conversation.turn(message, printer, pictures)
    finally:
        typer.echo()


async def _converse(conversation: "Conversation", printer: "Printer", pictures: Sequence["Media"]) -> None:
    """Read and answer until the input ends. A failed turn prints its error, and the conversation continues.

    The pictures go with the first message that is answered.
    """
    import asyncio

    from services.mesh.call.errors import MeshError

    while True:
        try:
            line = await asyncio.to_thread(input, "\n> ")
        except EOFError:
            return
        if not line.strip():
            continue
        try:
            await _turn(conversation, line, printer, pictures)
        except MeshError as error:
            typer.secho(f"{error.reason}: {error.message}", err=True)
        else:
            pictures = ()
