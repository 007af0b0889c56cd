"""Finished turns reach memory in order, off the client's path, and survive its absence and a crash."""

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING

import grpc
import pytest
from soma.model.v1 import message_pb2
from soma.orchestrator.v1 import chat_service_pb2 as pb

from services.mesh.call.call import run_as
from services.mesh.call.errors import STORAGE_FULL_SECONDS, Unavailable
from services.mesh.call.status import from_rpc_error
from services.mesh.testing.jobs import running
from services.mesh.testing.local import SOMEBODY
from tests.orchestrator.conftest import Orchestrator
from tests.orchestrator.neighbours import Script

if TYPE_CHECKING:
    from services.mesh.stores.postgres import Pool


def request(text: str, conversation: str = "c") -> pb.ChatRequest:
    """A turn of a conversation."""
    message = message_pb2.Message(role=message_pb2.ROLE_USER, content=text)
    return pb.ChatRequest(messages=[message], conversation_id=conversation)


async def take(orchestrator: Orchestrator, turn: pb.ChatRequest) -> list[pb.ChatResponse]:
    """All events of a turn."""
    with run_as(SOMEBODY, timeout=30):
        return [event async for event in orchestrator.chat.Chat(turn)]


def said(script: Script, conversation: str = "c") -> list[str]:
    """What memory keeps of a conversation, the user's side."""
    turns = script.conversations.get(("acme", conversation), [])
    return [m.content for m in turns if m.role == message_pb2.ROLE_USER]


async def finish_while_memory_is_down(orchestrator: Orchestrator, script: Script, text: str) -> None:
    """Take a turn whose memory goes away before its end."""
    with run_as(SOMEBODY, timeout=30):
        async for event in orchestrator.chat.Chat(request(text)):
            if event.WhichOneof("payload") == "started":
                script.memory_down = True
    await orchestrator.delivery.drain()


async def test_a_turn_memory_could_not_take_is_delivered_once_it_is_back(
    orchestrator: Orchestrator, script: Script
) -> None:
    await finish_while_memory_is_down(orchestrator, script, "first")
    assert len(await orchestrator.pending.of("acme", "c")) == 1
    script.memory_down = False
    async with running(orchestrator.delivery.job), asyncio.timeout(5):
        await script.appended.wait()
        await orchestrator.delivery.settle("acme", "c")
    assert said(script) == ["first"]
    assert await orchestrator.pending.of("acme", "c") == []


async def test_the_next_turn_first_delivers_what_is_pending(orchestrator: Orchestrator, script: Script) -> None:
    await finish_while_memory_is_down(orchestrator, script, "first")
    script.memory_down = False
    events = await take(orchestrator, request("second"))
    assert events[0].started.remembered_messages == 2
    await orchestrator.delivery.drain()
    assert said(script) == ["first", "second"]


async def test_a_crash_after_the_client_heard_of_the_end_loses_nothing(
    orchestrator: Orchestrator, script: Script, database: "Pool"
) -> None:
    await finish_while_memory_is_down(orchestrator, script, "first")
    script.memory_down = False
    async with aclosing(Orchestrator(database, script)) as successor, running(successor.delivery.job):
        async with asyncio.timeout(5):
            await script.appended.wait()
    assert said(script) == ["first"]


async def test_an_absent_memory_is_waited_for(orchestrator: Orchestrator, script: Script) -> None:
    script.memory_down = True
    turn = asyncio.create_task(take(orchestrator, request("hello")))
    await asyncio.sleep(0)
    asyncio.get_running_loop().call_later(0.2, setattr, script, "memory_down", False)
    events = await turn
    assert events[-1].WhichOneof("payload") == "finished"


async def test_an_absent_memory_is_waited_for_also_with_a_turn_still_on_its_way_to_it(
    orchestrator: Orchestrator, script: Script
) -> None:
    await finish_while_memory_is_down(orchestrator, script, "first")
    asyncio.get_running_loop().call_later(0.2, setattr, script, "memory_down", False)
    events = await take(orchestrator, request("second"))
    assert events[0].started.remembered_messages == 2
    assert events[-1].WhichOneof("payload") == "finished"


async def test_a_memory_that_stays_away_fails_the_turn_before_the_model_is_asked(
    database: "Pool", script: Script
) -> None:
    script.memory_down = True
    async with aclosing(Orchestrator(database, script, patience=0.1)) as impatient:
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await take(impatient, request("hello"))
    assert failure.value.code() is grpc.StatusCode.UNAVAILABLE
    assert script.generated == []


async def test_a_turn_that_cannot_be_kept_fails_and_the_next_fail_before_the_model_is_asked(
    orchestrator: Orchestrator, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = Unavailable("the disk is full", reason="STORAGE_FULL", retry_after=STORAGE_FULL_SECONDS)

    async def refuse(*_: object) -> None:
        raise full

    loop = asyncio.get_running_loop()
    with monkeypatch.context() as patched:
        for name in ("put", "check"):
            patched.setattr(orchestrator.pending, name, refuse)
        for asked in (1, 1):
            began = loop.time()
            with pytest.raises(grpc.aio.AioRpcError) as failure:
                await take(orchestrator, request("hello"))
            assert from_rpc_error(failure.value).reason == "STORAGE_FULL"
            # Patience is for what passes by itself.
            assert loop.time() - began < 2
            assert len(script.generated) == asked
    events = await take(orchestrator, request("again"))
    assert events[-1].WhichOneof("payload") == "finished"
    await orchestrator.delivery.drain()
    assert said(script) == ["again"]


async def test_turns_of_many_conversations_at_once_are_each_kept_whole(
    orchestrator: Orchestrator, script: Script
) -> None:
    await asyncio.gather(*(take(orchestrator, request(f"turn of {n}", conversation=str(n))) for n in range(50)))
    await orchestrator.delivery.drain()
    assert all(said(script, str(n)) == [f"turn of {n}"] for n in range(50))
    async with orchestrator.pending.left_behind(0.0, 10) as turns:
        assert turns == []


async def test_what_a_killed_process_left_is_delivered_by_one_that_has_long_been_running(
    orchestrator: Orchestrator, script: Script, database: "Pool"
) -> None:
    async with aclosing(Orchestrator(database, script)) as survivor, running(survivor.delivery.job):
        assert await survivor.delivery.sweep(0.0) == 0
        await finish_while_memory_is_down(orchestrator, script, "first")
        script.memory_down = False
        async with asyncio.timeout(10):
            await script.appended.wait()
    assert said(script) == ["first"]


async def test_the_next_turn_sees_the_one_another_process_finished(
    orchestrator: Orchestrator, script: Script, database: "Pool"
) -> None:
    await finish_while_memory_is_down(orchestrator, script, "first")
    script.memory_down = False
    async with aclosing(Orchestrator(database, script)) as other:
        events = await take(other, request("second"))
    assert events[0].started.remembered_messages == 2
    assert said(script) == ["first", "second"]


async def test_a_turn_that_is_on_its_way_is_left_alone(orchestrator: Orchestrator, script: Script) -> None:
    await finish_while_memory_is_down(orchestrator, script, "first")
    script.memory_down = False
    assert await orchestrator.delivery.sweep(60.0) == 0
    assert said(script) == []


async def test_processes_take_turns_at_what_was_left_behind(
    orchestrator: Orchestrator, script: Script, database: "Pool"
) -> None:
    await finish_while_memory_is_down(orchestrator, script, "first")
    script.memory_down = False
    async with aclosing(Orchestrator(database, script)) as other:
        async with orchestrator.pending.left_behind(0.0, 10) as mine:
            assert len(mine) == 1
            assert await other.delivery.sweep(0.0) == 0
        assert await other.delivery.sweep(0.0) == 1
    assert said(script) == ["first"]
