"""`soma events`: the streams of events, the lag of their consumers, and dead letters."""

from typing import TYPE_CHECKING, Annotated

import typer

from cli.commands.options import DataDirOption, KeyOption, UrlOption, directory, refuse_before_subcommand

if TYPE_CHECKING:
    from collections.abc import Sequence

    from soma.mesh.v1 import event_service_pb2 as pb
    from soma.mesh.v1.event_service_pb2_grpc import EventServiceAsyncStub

    from cli.endpoint import Endpoint

CALL_SECONDS = 30.0
# The number of dead letters shown, newest first. The RPC lists all of them.
SHOWN = 50

events = typer.Typer(help="Show the streams of events and what consumers gave up, and have it handled once more.")


@events.callback(invoke_without_command=True)
def show(
    context: typer.Context,
    data_dir: DataDirOption = None,
    url: UrlOption = None,
    key: KeyOption = None,
) -> None:
    """List every stream with its consumers, then the dead letters of the key's tenant."""
    if context.invoked_subcommand is not None:
        refuse_before_subcommand(context, "data_dir", "url", "key")
        return
    import asyncio

    from cli.endpoint import find_endpoint

    asyncio.run(_list(find_endpoint(directory(data_dir), url, key)))


@events.command()
def replay(
    dead_letter: Annotated[str, typer.Argument(help="The id that soma events shows.")],
    data_dir: DataDirOption = None,
    url: UrlOption = None,
    key: KeyOption = None,
) -> None:
    """Have a consumer handle an event once more that it gave up."""
    import asyncio

    from cli.endpoint import find_endpoint

    asyncio.run(_replay(find_endpoint(directory(data_dir), url, key), dead_letter))


async def _list(endpoint: "Endpoint") -> None:
    from soma.mesh.v1 import event_service_pb2 as pb
    from soma.mesh.v1.event_service_pb2_grpc import EventServiceStub

    from cli.table import aligned

    async with endpoint.channel() as channel:
        stub: EventServiceAsyncStub = EventServiceStub(channel)
        key = endpoint.metadata
        streams = await stub.ListEventStreams(pb.ListEventStreamsRequest(), metadata=key, timeout=CALL_SECONDS)
        newest = pb.ListDeadLettersRequest(page_size=SHOWN)
        letters = await stub.ListDeadLetters(newest, metadata=key, timeout=CALL_SECONDS)
    typer.echo("\n".join(aligned(_streams(streams.streams))))
    if letters.dead_letters:
        typer.echo("\n" + "\n".join(aligned(_letters(letters.dead_letters))))
        typer.echo("\nsoma events replay ID lets its consumer handle an event again")
    if letters.next_page_token:
        typer.echo(f"these are the newest {SHOWN}; GET /v1/events/dead-letters lists all of them")


def _streams(streams: "Sequence[pb.EventStream]") -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [("stream", "events", "waiting", "consumer", "lag")]
    for stream in streams:
        shown = (stream.area, str(stream.length), str(stream.waiting))
        rows += [(*shown, group.consumer, str(group.lag)) for group in stream.groups] or [(*shown, "–", "")]
    return rows


def _letters(letters: "Sequence[pb.DeadLetter]") -> list[tuple[str, ...]]:
    from soma.mesh.v1 import event_service_pb2 as pb

    rows: list[tuple[str, ...]] = [("dead letter", "given up", "consumer", "event", "state", "error")]
    for letter in letters:
        when = letter.create_time.ToDatetime().isoformat(sep=" ", timespec="seconds")
        state = pb.DeadLetter.State.Name(letter.state).removeprefix("STATE_").lower()
        why = f"{letter.reason}: {letter.error}"
        rows.append((letter.dead_letter_id, when, letter.consumer, letter.type or "(no event)", state, why))
    return rows


async def _replay(endpoint: "Endpoint", dead_letter: str) -> None:
    from soma.mesh.v1 import event_service_pb2 as pb
    from soma.mesh.v1.event_service_pb2_grpc import EventServiceStub

    async with endpoint.channel() as channel:
        stub: EventServiceAsyncStub = EventServiceStub(channel)
        request = pb.ReplayDeadLetterRequest(dead_letter_id=dead_letter)
        answer = await stub.ReplayDeadLetter(request, metadata=endpoint.metadata, timeout=CALL_SECONDS)
    letter = answer.dead_letter
    what = letter.type or "the entry"
    if letter.state == pb.DeadLetter.STATE_HANDLED:
        typer.echo(f"{what} was replayed before, and {letter.consumer} has handled it already")
    else:
        typer.echo(f"{what} is on its way to {letter.consumer}")
