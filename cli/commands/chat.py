"""`soma chat`: talk to a stack, one message or many."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from cli.commands.options import DataDirOption, KeyOption, UrlOption, directory

if TYPE_CHECKING:
    from cli.conversation import Conversation, Shown
    from cli.door import Door


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

    from cli.door import door

    if message is None and not sys.stdin.isatty():
        message = sys.stdin.read().strip()
    interactive = message is None
    if interactive and not conversation:
        conversation = str(uuid.uuid4())
    entrance = door(directory(data_dir), url, key)
    try:
        asyncio.run(_chat(entrance, message, conversation, model))
    except KeyboardInterrupt:
        typer.echo(err=True)
    if interactive:
        typer.echo(f"soma chat --conversation {conversation} goes on with it", err=True)


async def _chat(entrance: "Door", message: str | None, conversation_id: str, model: str) -> None:
    from cli.conversation import Conversation, Shown

    shown = Shown(
        text=lambda text: typer.echo(text, nl=False),
        note=lambda note: typer.secho(f"\n[{note}]", nl=False, dim=True, err=True),
    )
    async with entrance.channel() as channel:
        conversation = Conversation(channel, entrance.metadata, conversation_id=conversation_id, model=model)
        if message is None:
            await _converse(conversation, shown)
        else:
            await _turn(conversation, message, shown)


async def _turn(conversation: "Conversation", message: str, shown: "Shown") -> None:
    try:
        await conversation.turn(message, shown)
    finally:
        typer.echo()


async def _converse(conversation: "Conversation", shown: "Shown") -> None:
    """Read and answer until the end of the input; a turn that fails is told, and the next one may succeed."""
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
            await _turn(conversation, line, shown)
        except MeshError as error:
            typer.secho(f"{error.reason}: {error.message}", err=True)
