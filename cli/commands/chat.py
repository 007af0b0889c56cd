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

    The answer goes to standard output; the thoughts of the model and all else go to standard error. In a conversation,
    `/image PATH` sends a picture with the next message, and so does the path of one in a message.
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
        BadParameter: the file cannot be read, or holds no picture.
    """
    from cli.pictures import NotAPicture, read_picture

    try:
        return read_picture(source)
    except NotAPicture as error:
        raise typer.BadParameter(str(error), param_hint="--image") from None


async def _chat(
    endpoint: "Endpoint", message: str | None, pictures: Sequence["Media"], conversation_id: str, model: str
) -> None:
    from cli.conversation import Conversation, Printer
    from cli.pictures import described

    printer = Printer(
        text=lambda text: typer.echo(text, nl=False),
        thought=lambda text: typer.secho(text, nl=False, dim=True, err=True),
        note=lambda note: typer.secho(f"\n[{note}]", nl=False, dim=True, err=True),
    )
    for picture in pictures:
        _say(described(picture))
    async with endpoint.channel() as channel:
        conversation = Conversation(channel, endpoint.metadata, conversation_id=conversation_id, model=model)
        if message is None:
            await _Talk(conversation, printer, list(pictures)).run()
        else:
            await _turn(conversation, message, printer, pictures)


def _say(note: str) -> None:
    """Print a line beside the conversation."""
    typer.secho(f"[{note}]", dim=True, err=True)


async def _turn(conversation: "Conversation", message: str, printer: "Printer", pictures: Sequence["Media"]) -> None:
    try:
        await conversation.turn(message, printer, pictures)
    finally:
        typer.echo()


class _Talk:
    """A conversation until the input ends. A failed turn prints its error, and the conversation continues.

    The pictures go with the first message that is answered.
    """

    def __init__(self, conversation: "Conversation", printer: "Printer", pictures: list["Media"]) -> None:
        self._conversation = conversation
        self._printer = printer
        self._pictures = pictures

    async def run(self) -> None:
        import asyncio

        while True:
            try:
                line = await asyncio.to_thread(input, "\n> ")
            except EOFError:
                return
            if line.strip():
                await self._answer(line)

    async def _answer(self, line: str) -> None:
        from cli.pictures import described, read_line
        from services.mesh.call.errors import MeshError

        said = read_line(line)
        if said.clears:
            _say(f"not sent: {', '.join(map(described, self._pictures)) or 'there is no picture'}")
            self._pictures.clear()
        added = sum(self._add(source) for source in said.sources)
        if added < len(said.sources) or not said.text:
            return
        mentioned = [source for source in said.mentioned if self._add(source)]
        try:
            await _turn(self._conversation, said.text, self._printer, self._pictures)
        except MeshError as error:
            typer.secho(f"{error.reason}: {error.message}", err=True)
            # A picture that the text mentions comes again with its path.
            del self._pictures[len(self._pictures) - len(mentioned) :]
            if self._pictures:
                _say("the pictures go with the next message; /image alone takes them back")
        else:
            self._pictures.clear()

    def _add(self, source: str) -> bool:
        """Add a picture to the next message, and say so, or why not."""
        from cli.pictures import NotAPicture, described, read_picture

        try:
            picture = read_picture(source)
        except NotAPicture as error:
            typer.secho(f"not sent: {error}", err=True)
            return False
        self._pictures.append(picture)
        _say(described(picture))
        return True
