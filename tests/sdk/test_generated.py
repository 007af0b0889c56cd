"""The generator makes the client's methods for a new contract; a real server answers them."""

import json
import shutil
import sys
import tomllib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from services.mesh.testing.echo import EchoServicer
from services.mesh.testing.notes import NoteServicer
from tests.e2e.stack import command
from tests.sdk.conftest import KEY, pointing, serving
from tools.client_method import methods_of, services_of
from tools.client_modules import modules

ROOT = Path(__file__).parents[2]
# Methods with streams of requests are written by hand, and nothing here calls them.
UPLOADS = {
    "soma.testing.v1.EchoService.CollectEchoes": {"by_hand": "collect_echoes"},
    "soma.testing.v1.EchoService.ChatEchoes": {"by_hand": "chat_echoes"},
}
# Both programs do the same; the calls of the client for asyncio are awaited.
PROGRAM = """
import asyncio, inspect, json
from soma.testing.v1.echo_service_pb2 import Script
from soma.testing.v1.note_service_pb2 import Note
from somamesh import APIError, AsyncClient, Client

async def main():
    async with KIND() as soma:
        done = {}
        for name in ("a/1", "a/2", "a/3"):
            created = AWAIT soma.create_note(Note(name=name, text=name, tags=["t"]))
        done["created"] = created.note.state == Note.STATE_ACTIVE
        done["listed"] = [note.name ASYNC for note in soma.list_notes(tags=["t"], states=["active"], page_size=2)]
        done["counted"] = (AWAIT soma.count_notes()).count
        archived = AWAIT soma.archive_note("a/1", reason="old")
        done["archived"] = archived.note.text
        done["deleted"] = AWAIT soma.delete_note("a/2")
        try:
            AWAIT soma.get_note("a/2")
        except APIError as error:
            done["missing"] = [type(error).__name__, error.reason]
        try:
            AWAIT soma.echo(text="Hi", script=Script(fail_code=14))
        except APIError as error:
            done["failed"] = type(error).__name__
        done["streamed"] = [echo.sequence ASYNC for echo in soma.stream_echo(text="Hi", script=Script(count=3))]
        done["help"] = inspect.getdoc(KIND.archive_note)
        print(json.dumps(done))

asyncio.run(main())
"""
SYNC = PROGRAM.replace("async with KIND", "with KIND").replace("KIND", "Client").replace("AWAIT ", "")
ASYNC = PROGRAM.replace("KIND", "AsyncClient").replace("AWAIT", "await").replace(" ASYNC for", " async for")


@pytest.fixture(scope="module")
def client_of_all(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The client's sources, generated again with the services of tests among the others."""
    sources = tmp_path_factory.mktemp("client")
    shutil.copytree(ROOT / "sdk" / "python" / "src" / "somamesh", sources / "somamesh")
    files = FileDescriptorSet.FromString((ROOT / "gen" / "descriptors.binpb").read_bytes())
    overrides = tomllib.loads((ROOT / "tools" / "client_methods.toml").read_text()) | UPLOADS
    without = ("soma.mesh.",)
    texts = modules(methods_of(files, overrides, without), services_of(files, without))
    for name, text in texts.items():
        (sources / "somamesh" / "generated" / name).write_text(text)
    return sources


@pytest.fixture
async def url() -> AsyncIterator[tuple[str, EchoServicer]]:
    """A server with the services of tests."""
    echo = EchoServicer()
    async with serving(None, NoteServicer(), echo) as running:
        yield running.url, echo


@pytest.mark.parametrize("program", [SYNC.replace(" ASYNC for", " for"), ASYNC], ids=["sync", "async"])
async def test_a_new_contract_is_in_both_clients(
    client_of_all: Path, url: tuple[str, EchoServicer], program: str
) -> None:
    where, echo = url
    ended = await command(*pointing(where, KEY), f"PYTHONPATH={client_of_all}", sys.executable, "-c", program)
    assert ended.status == 0, ended.errors
    done = json.loads(ended.output)
    help_text = done.pop("help")
    assert done == {
        "created": True,
        "listed": ["a/1", "a/2", "a/3"],
        "counted": 3,
        "archived": "old",
        "deleted": None,
        "missing": ["NotFoundError", "NOTE_NOT_FOUND"],
        "failed": "UnavailableError",
        "streamed": [0, 1, 2],
    }
    assert help_text.splitlines() == [
        "Puts one away.",
        "",
        "Args:",
        "    name: Its name.",
        "    reason: Why, for who asks later; replaces the text when it is set.",
    ]
    # The stream and the failed echo are called once: their contracts do not permit a retry.
    assert echo.tally.served == 2
