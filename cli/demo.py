"""A short real conversation through a stack's one port, by native gRPC and by the OpenAI surface, and how to go on."""

import json
import shlex
import ssl
import sys
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
import grpc
import typer
from soma.model.v1 import catalog_service_pb2
from soma.model.v1.catalog_service_pb2_grpc import CatalogServiceStub

from cli.conversation import Conversation, Shown
from cli.door import Door
from services.mesh.call.errors import Unavailable

if TYPE_CHECKING:
    from soma.model.v1.catalog_service_pb2_grpc import CatalogServiceAsyncStub

TURNS = (
    "My sister Ada lives in Lisbon and keeps two bees.",
    "Where does Ada live?",
)
LAST_TURN = "What does Ada keep?"
SECONDS = 120.0
CHAT = "soma.orchestrator.v1.ChatService/Chat"


async def hold(door: Door) -> None:
    """Hold the conversation and show it; the last turn goes another way in and finds the same memory.

    Raises:
        MeshError: a turn failed.
    """
    conversation_id = f"demo-{uuid.uuid4()}"
    shown = Shown(
        text=lambda text: typer.echo(text, nl=False), note=lambda note: typer.echo(f"\n       [{note}]", nl=False)
    )
    async with door.channel() as channel:
        model = await _default_model(channel, door)
        typer.echo(f"A conversation with {model} by native gRPC ({CHAT}):\n")
        conversation = Conversation(channel, door.metadata, conversation_id=conversation_id, model=model)
        for text in TURNS:
            typer.echo(f"  you: {text}\n soma: ", nl=False)
            await conversation.turn(text, shown)
            typer.echo("\n")
    typer.echo("The same conversation by the OpenAI surface (POST /v1/chat/completions):\n")
    typer.echo(f"  you: {LAST_TURN}\n soma: {await _ask_as_openai(door, model, conversation_id)}\n")
    typer.echo("\n".join(["Three lines to copy:", *lines_to_copy(door, model)]))


def lines_to_copy(door: Door, model: str) -> list[str]:
    """A first call with curl, grpcurl and Python, each on one line."""
    question = "What can you do?"
    body = {"model": model, "stream": True, "messages": [{"role": "user", "content": question}]}
    turn = {"model": model, "messages": [{"role": "ROLE_USER", "content": question}]}
    program = (
        f"from openai import OpenAI; print(OpenAI(base_url='{door.url}/v1', api_key='{door.key}').chat.completions"
        f".create(model='{model}', messages=[{{'role': 'user', 'content': '{question}'}}]).choices[0].message.content)"
    )
    key = shlex.quote(f"authorization: Bearer {door.key}")
    transport = "-plaintext" if door.ca is None else f"-cacert {shlex.quote(str(door.ca))}"
    curl = "curl" if door.ca is None else f"curl --cacert {shlex.quote(str(door.ca))}"
    # In brackets, which a shell would take for a pattern, if it is one of IPv6.
    address = shlex.quote(door.url.partition("://")[2])
    return [
        f"{curl} -N -H {key} -H 'content-type: application/json' -d {shlex.quote(json.dumps(body))} "
        f"{shlex.quote(door.url + '/v1/chat/completions')}",
        f"grpcurl {transport} -H {key} -d {shlex.quote(json.dumps(turn))} {address} {CHAT}",
        f'{_python()} -c "{program}"',
    ]


def _python() -> str:
    """This Python, as short as it can be typed from here."""
    here, python = Path.cwd(), Path(sys.executable)
    return shlex.quote(str(python.relative_to(here) if python.is_relative_to(here) else python))


async def _default_model(channel: grpc.aio.Channel, door: Door) -> str:
    stub: CatalogServiceAsyncStub = CatalogServiceStub(channel)
    answer = await stub.ListModels(
        catalog_service_pb2.ListModelsRequest(), metadata=door.metadata, timeout=SECONDS, wait_for_ready=True
    )
    if not answer.models:
        raise Unavailable("the stack has no model", reason="NO_MODEL")
    return str(answer.models[0].name)


def _connector(door: Door) -> aiohttp.TCPConnector:
    return aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=door.ca) if door.ca is not None else True)


async def _ask_as_openai(door: Door, model: str, conversation_id: str) -> str:
    body = {"model": model, "conversation": conversation_id, "messages": [{"role": "user", "content": LAST_TURN}]}
    timeout = aiohttp.ClientTimeout(SECONDS)
    async with (
        aiohttp.ClientSession(headers=dict(door.metadata), timeout=timeout, connector=_connector(door)) as session,
        session.post(f"{door.url}/v1/chat/completions", json=body) as response,
    ):
        answer = await response.json()
        if response.status != 200:
            raise Unavailable(f"POST /v1/chat/completions answered {response.status}: {answer}", reason="DEMO_FAILED")
        return str(answer["choices"][0]["message"]["content"])
