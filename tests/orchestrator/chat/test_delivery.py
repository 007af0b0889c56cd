"""Finished turns reach memory in order, off the client's path, and survive its absence and a crash."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg
import grpc
import pytest
import redis.asyncio as aioredis
from soma.errors.v1 import reasons
from soma.memory.v1.memory_service_pb2 import AppendMessagesRequest
from soma.model.v1 import message_pb2
from soma.orchestrator.v1 import chat_service_pb2 as pb

from services.mesh.blobs.blobs import Blobs
from services.mesh.blobs.directory import Directory
from services.mesh.call import errors
from services.mesh.call.call import run_as
from services.mesh.call.status import from_rpc_error
from services.mesh.testing.jobs import step_of
from services.mesh.testing.local import SOMEBODY
from services.mesh.testing.waiting import until
from services.orchestrator.adapters.memory import Memory
from services.orchestrator.chat.delivery import Delivery
from services.orchestrator.chat.store import PendingTurn, PostgresPendingTurns
from tests.fakes.fake import away
from tests.orchestrator.conftest import Fakes, Orchestrator, serving
from tests.orchestrator.statements import seen

if TYPE_CHECKING:
    from tests.databases import OwnedDatabase

# How long a turn would wait for what passes by itself.
PATIENCE_SECONDS = 5.0


def request(text: str, conversation: str = "c") -> pb.ChatRequest:
    """A turn of a conversation."""
    message = message_pb2.Message(role=message_pb2.ROLE_USER, content=text)
    return pb.ChatRequest(messages=[message], conversation_id=conversation)


async def take(orchestrator: Orchestrator, turn: pb.ChatRequest) -> list[pb.ChatResponse]:
    """All events of a turn."""
    with run_as(SOMEBODY, timeout=30):
        return [event async for event in orchestrator.chat.Chat(turn)]


def said(fakes: Fakes, conversation: str = "c") -> list[str]:
    """What memory keeps of a conversation, the user's side."""
    turns = fakes.memory.conversations.get(("acme", conversation), [])
    return [m.content for m in turns if m.role == message_pb2.ROLE_USER]


async def finish_while_memory_is_down(orchestrator: Orchestrator, fakes: Fakes, text: str) -> None:
    """Take a turn whose memory goes away before its end, and does not take it."""
    appends = fakes.happened.count("append")

    async def asked() -> bool:
        return fakes.happened.count("append") > appends

    with run_as(SOMEBODY, timeout=30):
        async for event in orchestrator.chat.Chat(request(text)):
            if event.WhichOneof("payload") == "started":
                fakes.memory.failure = away()
    await until(asked)


async def test_a_turn_memory_could_not_take_is_delivered_once_it_is_back(
    orchestrator: Orchestrator, fakes: Fakes
) -> None:
    await finish_while_memory_is_down(orchestrator, fakes, "first")
    assert len(await orchestrator.pending.of("acme", "c")) == 1
    fakes.memory.failure = None
    async with asyncio.timeout(15):
        await orchestrator.delivered()
    assert said(fakes) == ["first"]
    assert await orchestrator.pending.of("acme", "c") == []


async def test_the_next_turn_first_delivers_what_is_pending(orchestrator: Orchestrator, fakes: Fakes) -> None:
    await finish_while_memory_is_down(orchestrator, fakes, "first")
    fakes.memory.failure = None
    events = await take(orchestrator, request("second"))
    assert events[0].started.remembered_messages == 2
    await orchestrator.delivered()
    assert said(fakes) == ["first", "second"]


async def test_a_crash_after_the_client_got_the_final_event_loses_nothing(
    database: "OwnedDatabase", redis: aioredis.Redis, fakes: Fakes
) -> None:
    async with serving(database, redis, fakes) as orchestrator:
        await finish_while_memory_is_down(orchestrator, fakes, "first")
    fakes.memory.failure = None
    async with serving(database, redis, fakes) as successor, asyncio.timeout(15):
        await successor.delivered()
    assert said(fakes) == ["first"]


async def test_a_turn_waits_until_memory_is_back(orchestrator: Orchestrator, fakes: Fakes) -> None:
    fakes.memory.failure = away()
    turn = asyncio.create_task(take(orchestrator, request("hello")))
    await asyncio.sleep(0)
    asyncio.get_running_loop().call_later(0.2, setattr, fakes.memory, "failure", None)
    events = await turn
    assert events[-1].WhichOneof("payload") == "finished"


async def test_a_turn_waits_until_memory_is_back_and_has_the_pending_turn(
    orchestrator: Orchestrator, fakes: Fakes
) -> None:
    await finish_while_memory_is_down(orchestrator, fakes, "first")
    asyncio.get_running_loop().call_later(0.2, setattr, fakes.memory, "failure", None)
    events = await take(orchestrator, request("second"))
    assert events[0].started.remembered_messages == 2
    assert events[-1].WhichOneof("payload") == "finished"


async def test_a_turn_fails_before_the_model_is_asked_if_memory_stays_away(
    database: "OwnedDatabase", redis: aioredis.Redis, fakes: Fakes
) -> None:
    fakes.memory.failure = away()
    async with serving(database, redis, fakes, patience=0.1) as impatient:
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await take(impatient, request("hello"))
    assert failure.value.code() is grpc.StatusCode.UNAVAILABLE
    assert fakes.model.generated == []


@pytest.mark.parametrize(
    "refusal",
    [errors.InvalidArgument("too long"), errors.NotFound("no such picture", reason=reasons.MEDIA_NOT_FOUND)],
    ids=["invalid", "media"],
)
async def test_a_turn_that_memory_always_refuses_does_not_stop_its_conversation(
    orchestrator: Orchestrator, fakes: Fakes, refusal: errors.MeshError
) -> None:
    with run_as(SOMEBODY, timeout=30):
        async for event in orchestrator.chat.Chat(request("first")):
            if event.WhichOneof("payload") == "started":
                fakes.memory.failure = refusal
    await orchestrator.delivered()
    fakes.memory.failure = None
    await take(orchestrator, request("second"))
    await orchestrator.delivered()
    assert said(fakes) == ["second"]


async def test_a_turn_that_cannot_be_kept_fails_and_the_next_fail_before_the_model_is_asked(
    database: "OwnedDatabase", redis: aioredis.Redis, fakes: Fakes
) -> None:
    full = True

    def refuse(statement: str) -> None:
        # A full disk takes no rows, and has no room for what a ping writes; it can still be read.
        if full and ("INSERT INTO orchestrator.pending_turn" in statement or "generate_series" in statement):
            raise asyncpg.DiskFullError

    pool = seen(database, refuse)
    loop = asyncio.get_running_loop()
    async with serving(pool, redis, fakes, patience=PATIENCE_SECONDS) as orchestrator:
        for asked in (1, 1):
            began = loop.time()
            with pytest.raises(grpc.aio.AioRpcError) as failure:
                await take(orchestrator, request("hello"))
            assert from_rpc_error(failure.value).reason == "STORAGE_FULL"
            # Patience is for what passes by itself.
            assert loop.time() - began < PATIENCE_SECONDS
            assert len(fakes.model.generated) == asked
        full = False
        events = await take(orchestrator, request("again"))
        assert events[-1].WhichOneof("payload") == "finished"
        await orchestrator.delivered()
    assert said(fakes) == ["again"]


async def test_turns_of_many_conversations_at_once_are_each_kept_whole(
    orchestrator: Orchestrator, fakes: Fakes
) -> None:
    await asyncio.gather(*(take(orchestrator, request(f"turn of {n}", conversation=str(n))) for n in range(50)))
    await orchestrator.delivered()
    assert all(said(fakes, str(n)) == [f"turn of {n}"] for n in range(50))
    async with orchestrator.pending.left_behind(0.0, 10) as turns:
        assert turns == []


async def test_the_undelivered_turn_of_a_killed_process_is_delivered_by_a_running_one(
    database: "OwnedDatabase", redis: aioredis.Redis, fakes: Fakes
) -> None:
    async with serving(database, redis, fakes) as survivor:
        await step_of("orchestrator", "delivery")
        async with serving(database, redis, fakes) as killed:
            await finish_while_memory_is_down(killed, fakes, "first")
        fakes.memory.failure = None
        async with asyncio.timeout(10):
            await survivor.delivered()
    assert said(fakes) == ["first"]


async def test_the_next_turn_sees_the_one_another_process_finished(
    orchestrator: Orchestrator, database: "OwnedDatabase", redis: aioredis.Redis, fakes: Fakes
) -> None:
    await finish_while_memory_is_down(orchestrator, fakes, "first")
    fakes.memory.failure = None
    async with serving(database, redis, fakes) as other:
        events = await take(other, request("second"))
        await other.delivered()
    assert events[0].started.remembered_messages == 2
    assert said(fakes) == ["first", "second"]


class Taken(Memory):
    """What memory is handed, and a delivery that hands it over."""

    def __init__(self, pool: "OwnedDatabase", blobs: Blobs) -> None:
        self.turns: list[str] = []
        self.pending = PostgresPendingTurns(pool, blobs)
        self.delivery = Delivery(self.pending, self)

    async def left_behind(self) -> str:
        """A turn that its process has not delivered."""
        append = AppendMessagesRequest(request_id=str(uuid.uuid4()))
        await self.pending.put(PendingTurn(append.request_id, SOMEBODY, "c", append.SerializeToString()))
        return append.request_id

    async def append(self, request: AppendMessagesRequest) -> None:
        self.turns.append(request.request_id)


@pytest.fixture
async def taken(database: "OwnedDatabase", tmp_path: Path) -> AsyncIterator[Taken]:
    """Nothing yet."""
    made = Taken(database, Blobs(Directory(tmp_path), database.tenants))
    yield made
    await made.pending.close()


async def test_a_recent_undelivered_turn_is_not_delivered_by_a_sweep(taken: Taken) -> None:
    await taken.left_behind()
    assert await taken.delivery.sweep(60.0) == 0
    assert taken.turns == []


async def test_an_undelivered_turn_is_delivered_by_one_process_at_a_time(taken: Taken) -> None:
    turn = await taken.left_behind()
    async with taken.pending.left_behind(0.0, 10) as mine:
        assert len(mine) == 1
        assert await taken.delivery.sweep(0.0) == 0
    assert await taken.delivery.sweep(0.0) == 1
    assert taken.turns == [turn]
