"""`soma chat`: send one message to a stack, or hold a conversation."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from cli.commands.options import DataDirOption, KeyOption, UrlOption, directory

if TYPE_CHECKING:
    from cli.conversation import Conversation, Printer
    from cli.endpoint import Endpoint


def chat(
    message: Annotated[str | None, typer.Argument(help="One message. Without it, a conversation begins.")] = None,
    conversation: Annotated[str, typer.Option(help="Id of the conversation to begin or continue.")] = "",
    model: Annotated[str, typer.Option(help="The model. The stack's default if not given.")] = "",
    data_dir: DataDirOption = None,
    url: UrlOption = None,
    key: KeyOption = None,
) -> None:
    """Chat with a model through the mesh. The answer goes to standard output, all else to standard error."""
    import asyncio
    import uuid

    from cli.endpoint import find_endpoint

    if message is None and not sys.stdin.isatty():
        message = sys.stdin.read().strip()
    interactive = message is None
    if interactive and not conversation:
        conversation = str(uuid.uuid4())
    endpoint = find_endpoint(directory(data_dir), url, key)
    try:
        asyncio.run(_chat(endpoint, message, conversation, model))
    except KeyboardInterrupt:
        typer.echo(err=True)
    if interactive:
        typer.echo(f"continue with: soma chat --conversation {conversation}", err=True)


async def _chat(endpoint: "Endpoint", message: str | None, conversation_id: str, model: str) -> None:
    from cli.conversation import Conversation, Printer

    printer = Printer(
        text=lambda text: typer.echo(text, nl=False),
        note=lambda note: typer.secho(f"\n[{note}]", nl=False, dim=True, err=True),
    )
    async with endpoint.channel() as channel:
        conversation = Conversation(channel, endpoint.metadata, conversation_id=conversation_id, model=model)
        if message is None:
            await _converse(conversation, printer)
        else:
            await _turn(conversation, message, printer)


async def _turn(conversation: "Conversation", message: str, printer: "Printer") -> None:
    try:
        await conversation.turn(message, printer)
    finally:
        typer.echo()


async def _converse(conversation: "Conversation", printer: "Printer") -> None:
    """Read and answer until the input ends. A failed turn prints its error, and the conversation continues."""
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
            await _turn(conversation, line, printer)
        except MeshError as error:
            typer.secho(f"{error.reason}: {error.message}", err=True)
