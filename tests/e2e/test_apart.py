"""A service in its own process: the same conversation, also when this process dies or is missing."""

import asyncio
import uuid
from asyncio import get_running_loop

import grpc
import pytest
from soma.memory.v1.memory_service_pb2 import RecallRequest
from soma.memory.v1.memory_service_pb2_grpc import MemoryServiceStub

from services.mesh.call.status import from_rpc_error
from services.mesh.testing.waiting import until
from services.model.testing.dialects import Behaviour
from services.model.testing.upstreams import FakeUpstream
from tests.e2e.load import Load
from tests.e2e.stack import CALL_SECONDS, Stack
from tests.e2e.surfaces import over_grpc, over_openai, over_rest, received_messages


async def test_memory_apart_runs_in_a_process_of_its_own_and_remembers(split: Stack, upstream: FakeUpstream) -> None:
    assert split.part("serve-memory").pid != split.part("serve").pid
    conversation = f"apart-{uuid.uuid4()}"
    async with split.http() as http, split.channel() as channel:
        assert (await over_openai(http, "I am Kim.", conversation=conversation)).finished
        assert (await over_grpc(channel, split, "Who am I?", conversation=conversation)).finished
    contents = [content for _, content in received_messages(upstream)]
    assert contents == ["I am Kim.", "Hello there!", "Who am I?"]


async def test_a_conversation_survives_a_kill_of_the_process_apart(split: Stack, upstream: FakeUpstream) -> None:
    """The turn after the kill waits for memory within its time limit, and clients see no error."""
    conversation = f"killed-{uuid.uuid4()}"
    async with split.http() as http:
        assert (await over_openai(http, "I am Kim.", conversation=conversation)).finished
        killed = split.kill("serve-memory")
        turn = await over_openai(http, "Who am I?", conversation=conversation)
        if not turn.finished:
            # On a busy machine a process may take longer to start than a turn waits.
            assert (turn.status, turn.reason) == (503, "SERVICE_UNAVAILABLE")
        await split.restarted("serve-memory", killed)
        assert (await over_openai(http, "And who are you?", conversation=conversation)).finished
    contents = [content for _, content in received_messages(upstream)]
    assert contents[:2] == ["I am Kim.", "Hello there!"]
    assert contents[-1] == "And who are you?"


async def test_the_process_apart_killed_under_load_loses_nothing_that_was_acknowledged(split: Stack) -> None:
    async with split.channel() as channel:
        async with Load(split) as load:
            await load.more()
            await split.restarted("serve-memory", split.kill("serve-memory"))
            await load.more()
        await load.nothing_lost(channel)
    assert {turn.status for turn in load.failures} <= {"UNAVAILABLE"}
    assert {turn.reason for turn in load.failures} <= {"SERVICE_UNAVAILABLE", "INSTANCE_LOST"}


async def test_without_memory_a_conversation_is_unavailable_after_a_wait_with_the_reason(
    partial: Stack, upstream: FakeUpstream
) -> None:
    async with partial.http() as http, partial.channel() as channel:
        began = get_running_loop().time()
        turns = [
            await over_grpc(channel, partial, "hello", conversation="c"),
            await over_openai(http, "hello", conversation="c"),
            await over_rest(http, "hello", conversation="c"),
        ]
        seconds = get_running_loop().time() - began
        assert [turn.status for turn in turns] == ["UNAVAILABLE", 503, 503]
        assert {turn.reason for turn in turns} == {"SERVICE_UNAVAILABLE"}
        assert turns[1].retry_after == 1
        assert seconds < len(turns) * 4
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await MemoryServiceStub(channel).Recall(
                RecallRequest(key="k"), metadata=partial.metadata, timeout=CALL_SECONDS
            )
        assert from_rpc_error(raised.value).reason == "NO_LIVE_INSTANCE"
        # Calls that need no memory still work.
        assert (await over_openai(http, "hello")).finished
    assert len(upstream.requests) == 1


async def test_a_process_that_joins_is_reached_and_one_that_dies_is_missed_within_a_second(partial: Stack) -> None:
    conversation = f"joined-{uuid.uuid4()}"
    async with partial.channel() as channel, partial.http() as http:

        async def recall() -> str:
            try:
                await MemoryServiceStub(channel).Recall(
                    RecallRequest(key="no such key"), metadata=partial.metadata, timeout=CALL_SECONDS
                )
            except grpc.aio.AioRpcError as error:
                return from_rpc_error(error).reason
            return ""

        async def ready() -> bool:
            services: dict[str, str] = (await http.get("/ready")).json()["services"]
            return services.get("memory") == "ok"

        async def reached() -> bool:
            return await recall() == "MEMORY_NOT_FOUND"

        async def missed() -> bool:
            return await recall() == "NO_LIVE_INSTANCE"

        for _ in range(2):
            async with partial.serving("memory") as process:
                await until(ready, seconds=20)
                began = get_running_loop().time()
                await until(reached)
                assert get_running_loop().time() - began < 2.5
                assert (await over_grpc(channel, partial, "hello", conversation=conversation)).finished
                process.kill()
                async with asyncio.timeout(15):
                    await process.wait()
                began = get_running_loop().time()
                await until(missed)
                assert get_running_loop().time() - began < 2.5


async def test_a_process_that_stops_normally_breaks_off_no_call(partial: Stack, upstream: FakeUpstream) -> None:
    upstream.behaviour = Behaviour(deltas=["x "] * 20, pause=0.05)
    conversation = f"polite-{uuid.uuid4()}"
    async with partial.channel() as channel, partial.http() as http:

        async def ready() -> bool:
            services: dict[str, str] = (await http.get("/ready")).json()["services"]
            return services.get("memory") == "ok"

        async with partial.serving("memory") as process:
            await until(ready, seconds=20)
            asking = asyncio.create_task(over_grpc(channel, partial, "hello", conversation=conversation))
            await upstream.until(open=1)
            process.terminate()
            turn = await asking
            async with asyncio.timeout(10):
                assert await process.wait() == 0
    assert turn.finished
    assert turn.text == "x " * 20
