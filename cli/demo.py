"""A short real conversation through a stack's public port, over native gRPC and over OpenAI's API."""

import json
import shlex
import ssl
import sys
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import grpc
import typer
from soma.model.v1 import catalog_service_pb2
from soma.model.v1.catalog_service_pb2_grpc import CatalogServiceStub

from cli.conversation import Conversation, Printer
from cli.endpoint import Endpoint
from services.mesh.call.errors import Unavailable

if TYPE_CHECKING:
    from soma.model.v1.catalog_service_pb2_grpc import CatalogServiceAsyncStub

TURNS = (
    "My sister Ada lives in Lisbon and keeps two bees.",
    "Where does Ada live?",
)
LAST_TURN = "What does Ada keep?"
SMALL_TALK = "Say hello to a new user."
FOR_JSON = "Make up a pet."
PET = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 12},
        "kind": {"enum": ["cat", "dog", "parrot"]},
        "age": {"type": "integer", "minimum": 1, "maximum": 15},
    },
    "required": ["name", "kind", "age"],
    "additionalProperties": False,
}
SECONDS = 120.0
CHAT = "soma.orchestrator.v1.ChatService/Chat"


async def hold(endpoint: Endpoint) -> None:
    """Hold the conversation and show it. The last turn uses OpenAI's API and finds the same memory.

    Raises:
        MeshError: a turn failed.
    """
    conversation_id = f"demo-{uuid.uuid4()}"
    printer = Printer(
        text=lambda text: typer.echo(text, nl=False),
        thought=lambda text: typer.secho(text, nl=False, dim=True),
        note=lambda note: typer.echo(f"\n       [{note}]", nl=False),
    )
    async with endpoint.channel() as channel:
        models = await _models(channel, endpoint)
        model = str(models[0].name)
        typer.echo(f"A conversation with {model} over native gRPC ({CHAT}):\n")
        conversation = Conversation(channel, endpoint.metadata, conversation_id=conversation_id, model=model)
        for text in TURNS:
            typer.echo(f"  you: {text}\n soma: ", nl=False)
            await conversation.turn(text, printer)
            typer.echo("\n")
    typer.echo("The same conversation over OpenAI's API (POST /v1/chat/completions):\n")
    typer.echo(f"  you: {LAST_TURN}\n soma: {await _ask_as_openai(endpoint, model, conversation_id)}\n")
    own = next((each.name for each in models if each.provider == "llm" and each.available), None)
    if own is not None:
        await _show_language_model(endpoint, own)
    typer.echo("\n".join(["Three lines to copy:", *lines_to_copy(endpoint, model)]))


def lines_to_copy(endpoint: Endpoint, model: str) -> list[str]:
    """A first call with curl, with grpcurl and with Python, each on one line."""
    question = "What can you do?"
    body = {"model": model, "stream": True, "messages": [{"role": "user", "content": question}]}
    turn = {"model": model, "messages": [{"role": "ROLE_USER", "content": question}]}
    program = (
        f"from openai import OpenAI; print(OpenAI(base_url='{endpoint.url}/v1', api_key='{endpoint.key}')"
        f".chat.completions.create(model='{model}', messages=[{{'role': 'user', 'content': '{question}'}}])"
        ".choices[0].message.content)"
    )
    key = shlex.quote(f"authorization: Bearer {endpoint.key}")
    transport = "-plaintext" if endpoint.ca is None else f"-cacert {shlex.quote(str(endpoint.ca))}"
    curl = "curl" if endpoint.ca is None else f"curl --cacert {shlex.quote(str(endpoint.ca))}"
    # An IPv6 address has brackets, which a shell would read as a pattern.
    address = shlex.quote(endpoint.url.partition("://")[2])
    return [
        f"{curl} -N -H {key} -H 'content-type: application/json' -d {shlex.quote(json.dumps(body))} "
        f"{shlex.quote(endpoint.url + '/v1/chat/completions')}",
        f"grpcurl {transport} -H {key} -d {shlex.quote(json.dumps(turn))} {address} {CHAT}",
        f'{_python()} -c "{program}"',
    ]


def _python() -> str:
    """The path of this Python, relative to the current folder if possible."""
    here, python = Path.cwd(), Path(sys.executable)
    return shlex.quote(str(python.relative_to(here) if python.is_relative_to(here) else python))


async def _models(channel: grpc.aio.Channel, endpoint: Endpoint) -> Sequence[catalog_service_pb2.Model]:
    """The models, the default first."""
    stub: CatalogServiceAsyncStub = CatalogServiceStub(channel)
    answer = await stub.ListModels(
        catalog_service_pb2.ListModelsRequest(), metadata=endpoint.metadata, timeout=SECONDS, wait_for_ready=True
    )
    if not answer.models:
        raise Unavailable("the stack has no model", reason="NO_MODEL")
    return answer.models


def _connector(endpoint: Endpoint) -> aiohttp.TCPConnector:
    return aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=endpoint.ca) if endpoint.ca is not None else True)


async def _show_language_model(endpoint: Endpoint, model: str) -> None:
    """Ask the language model of this machine for text, and for JSON by a schema."""
    typer.echo(f"{model}, a language model on this machine (a small one, and often wrong; it starts when asked):\n")
    said = await _post(endpoint, {**_short(model, SMALL_TALK)})
    typer.echo(f"  you: {SMALL_TALK}\n soma: {said}\n")
    schema = {"type": "json_schema", "json_schema": {"name": "pet", "schema": PET}}
    said = await _post(endpoint, {**_short(model, FOR_JSON), "response_format": schema})
    typer.echo(f"  you: {FOR_JSON} (by a JSON schema)\n soma: {json.dumps(json.loads(said))}\n")


def _short(model: str, question: str) -> dict[str, Any]:
    messages = [{"role": "user", "content": question}]
    return {"model": model, "messages": messages, "max_tokens": 48, "temperature": 0, "seed": 1}


async def _ask_as_openai(endpoint: Endpoint, model: str, conversation_id: str) -> str:
    turn = {"model": model, "conversation": conversation_id, "messages": [{"role": "user", "content": LAST_TURN}]}
    return await _post(endpoint, turn)


async def _post(endpoint: Endpoint, body: Mapping[str, Any]) -> str:
    timeout = aiohttp.ClientTimeout(SECONDS)
    async with (
        aiohttp.ClientSession(
            headers=dict(endpoint.metadata), timeout=timeout, connector=_connector(endpoint)
        ) as session,
        session.post(f"{endpoint.url}/v1/chat/completions", json=body) as response,
    ):
        answer = await response.json()
        if response.status != 200:
            raise Unavailable(f"POST /v1/chat/completions answered {response.status}: {answer}", reason="DEMO_FAILED")
        return str(answer["choices"][0]["message"]["content"])
