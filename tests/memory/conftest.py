"""The memory service as `build` makes it, behind the mesh's pipeline, with a fake model service."""

import json
from collections.abc import AsyncIterator, Awaitable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest
from google.protobuf import json_format
from google.protobuf.struct_pb2 import Struct, Value
from soma.memory.v1 import memory_service_pb2 as pb
from soma.memory.v1.memory_service_pb2_grpc import MemoryServiceStub
from soma.model.v1.message_pb2 import ROLE_ASSISTANT, ROLE_TOOL, ROLE_USER, Message, ToolCall

from services.memory.main import SERVICE
from services.memory.passages import Json
from services.mesh.call import errors
from services.mesh.call.call import run_as
from services.mesh.call.principal import Principal
from services.mesh.call.status import from_rpc_error
from services.mesh.process.health import Check
from services.mesh.stores.redis import open_client
from services.mesh.testing.hosted import hosted
from services.mesh.testing.waiting import until
from tests.fakes.embedder import FakeEmbedder

if TYPE_CHECKING:
    from soma.memory.v1.memory_service_pb2_grpc import MemoryServiceAsyncStub

    from tests.databases import OwnedDatabase

EMBED_SECONDS = 1.0
MEMORY_SCOPES = frozenset({"read:memories", "write:memories", "read:conversations", "write:conversations"})
ACME = Principal("acme", "ann", scopes=MEMORY_SCOPES)
GLOBEX = Principal("globex", "gil", scopes=MEMORY_SCOPES)


@dataclass
class Memory:
    """The service's stub and what is behind it. Calls are Ann's, of the tenant acme, unless made inside `run_as`."""

    stub: "MemoryServiceAsyncStub"
    model: FakeEmbedder
    pool: "OwnedDatabase"
    warm: Check

    async def remember(self, key: str, value: Json, metadata: Mapping[str, Json] | None = None) -> pb.RememberResponse:
        """Store a fact."""
        request = pb.RememberRequest(key=key, value=json_value(value))
        if metadata is not None:
            json_format.ParseDict(dict(metadata), request.metadata)
        return await self.stub.Remember(request)

    async def say(self, conversation_id: str, *messages: Message, request_id: str = "") -> int:
        """Append turns; returns the position of the last one."""
        response = await self.stub.AppendMessages(
            pb.AppendMessagesRequest(conversation_id=conversation_id, messages=messages, request_id=request_id)
        )
        return response.last_sequence

    async def turns(self, conversation_id: str) -> list[pb.ConversationMessage]:
        """Every turn of a conversation."""
        page = await self.stub.ListMessages(pb.ListMessagesRequest(conversation_id=conversation_id, page_size=1000))
        return list(page.messages)

    async def indexed(self) -> None:
        """Return once no passage waits for its vector."""
        await until(self.all_indexed)

    async def all_indexed(self) -> bool:
        """Whether no passage waits for its vector."""
        waiting: bool = await self.pool.fetchval("SELECT EXISTS (SELECT FROM memory.passage WHERE embedding IS NULL)")
        return not waiting


@asynccontextmanager
async def serving(
    pool: "OwnedDatabase", data_dir: Path, model: FakeEmbedder, *, warm: bool = True
) -> AsyncIterator[Memory]:
    """The service, built; as it is in a process that hosts it together with a model service.

    Unless it is to be met as it starts, once vectors can be had.
    """
    async with (
        # Redis is away: events wait in the outbox, and no call needs it.
        open_client("redis://127.0.0.1:1") as redis,
        hosted(
            SERVICE,
            neighbours={"model": (model,)},
            database=pool,
            redis=redis,
            data_dir=data_dir,
            caller=ACME,
            strict=True,
        ) as memory,
    ):
        embedder = memory.service.checks["embedder"]
        if warm:
            await until(partial(passes, embedder))
            model.requests.clear()
            model.callers.clear()
        yield Memory(MemoryServiceStub(memory.channel), model, pool, embedder)


@pytest.fixture
async def memory(database: "OwnedDatabase", tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Memory]:
    """The service on a database of the test's own."""
    monkeypatch.setenv("SOMA_MEMORY_EMBED_SECONDS", str(EMBED_SECONDS))
    async with serving(database, tmp_path, FakeEmbedder()) as served:
        yield served


async def passes(check: Check) -> bool:
    """Whether a check of the service passes now."""
    try:
        await check()
    except errors.Unavailable:
        return False
    return True


@contextmanager
def as_globex() -> Iterator[None]:
    """Calls of the block are those of another tenant."""
    with run_as(GLOBEX):
        yield


async def refused(call: Awaitable[object]) -> errors.MeshError:
    """The error a call ends with."""
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call
    return from_rpc_error(raised.value)


def json_value(value: Json) -> Value:
    """The JSON as a message."""
    return json_format.Parse(json.dumps(value), Value())


def plain(value: Value | Struct) -> Json:
    """A message as JSON."""
    found: Json = json_format.MessageToDict(value)
    return found


def user(text: str) -> Message:
    """A message of the person."""
    return Message(role=ROLE_USER, content=text)


def assistant(text: str, *calls: str) -> Message:
    """A message of the model, with the ids of the tool calls it asks for."""
    return Message(
        role=ROLE_ASSISTANT,
        content=text,
        tool_calls=[ToolCall(call_id=id, name="look_up", arguments="{}") for id in calls],
    )


def tool(call_id: str, text: str) -> Message:
    """The result of a tool call."""
    return Message(role=ROLE_TOOL, content=text, tool_call_id=call_id)
