"""A part of the stack is killed while clients make calls.

It comes back. Meanwhile errors are typed, nothing acknowledged is lost, and no call takes longer than its deadline.
"""

import asyncio
from asyncio import get_running_loop
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
import redis.asyncio as aioredis
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub
from soma.model.v1.cost_service_pb2 import ListUsageRequest, UsageRecord
from soma.model.v1.cost_service_pb2_grpc import CostServiceStub
from soma.orchestrator.v1.chat_service_pb2_grpc import ChatServiceStub

from cli.parts.redis import server_url
from services.mesh.call.status import from_rpc_error
from services.mesh.testing.waiting import until
from services.model.testing.dialects import Behaviour
from services.model.testing.upstreams import FakeUpstream
from tests.e2e.counts import POOL_ALLOWANCE
from tests.e2e.load import Load
from tests.e2e.stack import CALL_SECONDS, Stack
from tests.e2e.surfaces import over_grpc, over_openai, request, usage

# Longer than any part needs to come back on a busy machine, and shorter than the deadline of the calls.
SLOWEST_SECONDS = 12.0


def redis_of(stack: Stack) -> aioredis.Redis:
    """A client of the stack's own Redis."""
    folder: Path = stack.data_dir / "redis"
    return aioredis.Redis.from_url(server_url(folder, stack.part("redis").port))


async def test_postgres_killed_under_load_loses_nothing_that_was_acknowledged(split: Stack) -> None:
    async with split.channel() as channel:
        async with Load(split) as load:
            await load.more()
            await split.restarted("postgres", split.kill("postgres"))
            await load.more()
        await load.nothing_lost(channel)
    assert {turn.status for turn in load.failures} <= {"UNAVAILABLE"}
    assert {turn.reason for turn in load.failures} <= {"POSTGRES_UNAVAILABLE"}
    assert load.slowest < SLOWEST_SECONDS


async def test_while_postgres_is_unavailable_callers_get_typed_errors_and_turns_wait_for_it(split: Stack) -> None:
    async with split.http() as http, split.channel() as channel:
        assert (await over_grpc(channel, split, "hello", conversation="away")).finished
        killed = split.kill("postgres")
        turns = asyncio.create_task(over_openai(http, "hello", conversation="away"))
        answers: list[httpx.Response] = []

        async def reported() -> bool:
            answers.append(await http.get("/v1/usage"))
            return answers[-1].status_code == 503

        await until(reported)
        with pytest.raises(grpc.aio.AioRpcError) as native:
            await CostServiceStub(channel).ListUsage(ListUsageRequest(), metadata=split.metadata, timeout=CALL_SECONDS)
        await split.restarted("postgres", killed)
        # A turn waits for its memory for a while, so the kill may cause no error.
        turn = await turns
        assert (await over_grpc(channel, split, "hello", conversation="away")).finished
    assert turn.finished or turn.reason == "POSTGRES_UNAVAILABLE"
    error = answers[-1].json()["error"]
    assert error["status"] == "UNAVAILABLE"
    assert error["details"][0]["reason"] == "POSTGRES_UNAVAILABLE"
    assert answers[-1].headers["retry-after"] == "1"
    assert native.value.code() is grpc.StatusCode.UNAVAILABLE
    assert from_rpc_error(native.value).reason == "POSTGRES_UNAVAILABLE"


async def test_while_postgres_is_frozen_calls_end_at_their_deadline_and_ready_says_why(split: Stack) -> None:
    postmaster = split.process("postgres")
    async with split.http() as http, split.channel() as channel:
        resting = await split.measured("rpc_server_active_calls")
        # This comes first, so that no more turns are made while they are counted.
        postmaster.suspend()
        frozen = [postmaster, *postmaster.children(recursive=True)]
        for process in frozen:
            process.suspend()
        try:
            began = get_running_loop().time()
            ledger = CostServiceStub(channel).ListUsage(ListUsageRequest(), metadata=split.metadata, timeout=1.0)
            chat = ChatServiceStub(channel).Chat(
                request("hello", conversation="frozen"), metadata=split.metadata, timeout=1.0
            )
            with pytest.raises(grpc.aio.AioRpcError) as unary:
                await ledger
            with pytest.raises(grpc.aio.AioRpcError) as stream:
                async for _ in chat:
                    pass
            assert get_running_loop().time() - began < 8
            assert unary.value.code() is stream.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED

            async def named() -> bool:
                answer = await http.get("/ready")
                return answer.status_code == 503 and "postgres" in answer.json()["services"]["model"]

            await until(named)
        finally:
            for process in frozen:
                process.resume()

        async def ready() -> bool:
            return (await http.get("/ready")).status_code == 200

        await until(ready)
        assert (await over_grpc(channel, split, "hello", conversation="frozen")).finished

        async def quiet() -> bool:
            return await split.measured("rpc_server_active_calls") == resting

        await until(quiet)


async def test_while_redis_is_frozen_ready_says_so_and_chat_goes_on(split: Stack) -> None:
    redis = split.process("redis")

    async with split.http() as http, split.channel() as channel:
        ready: list[httpx.Response] = []

        async def named() -> bool:
            ready.append(await http.get("/ready"))
            return ready[-1].status_code == 503

        async def over() -> bool:
            return (await http.get("/ready")).status_code == 200

        stub: Any = HealthStub(channel)
        redis.suspend()
        try:
            await until(named)
            turn = await over_grpc(channel, split, "hello", conversation="without redis")
            health = await stub.Check(
                HealthCheckRequest(service="soma.orchestrator.v1.ChatService"), timeout=CALL_SECONDS
            )
        finally:
            redis.resume()
        await until(over)
    body = ready[-1].json()
    assert (body["status"], body["checks"]["database"]) == ("not_ready", "healthy")
    assert body["checks"]["redis"].startswith("unhealthy: ")
    assert {name for name, state in body["services"].items() if state != "ok"} == {"identity", "edge", "orchestrator"}
    assert turn.finished
    assert health.status == HealthCheckResponse.SERVING


async def test_redis_killed_under_load_is_not_noticed_by_clients_and_keeps_its_data(split: Stack) -> None:
    async with redis_of(split) as before:
        await before.set("kept", "yes")
    async with split.channel() as channel:
        async with Load(split) as load:
            await load.more()
            await split.restarted("redis", split.kill("redis"))
            await load.more()
        await load.nothing_lost(channel)
    assert load.failures == []
    async with redis_of(split) as after:
        assert await after.get("kept") == b"yes"


async def test_envoy_killed_comes_back_on_its_port_and_the_services_never_stop(
    split: Stack, upstream: FakeUpstream
) -> None:
    serving = {name: split.part(name).pid for name in ("control", "serve", "serve-memory")}
    async with split.channel() as channel:
        async with Load(split) as load:
            await load.more()
            await split.restarted("envoy", split.kill("envoy"))
            await load.more()
        await load.nothing_lost(channel)
    assert {turn.status for turn in load.failures} <= {"UNAVAILABLE"}
    assert load.slowest < SLOWEST_SECONDS
    assert split.part("envoy").port == split.port
    assert {name: split.part(name).pid for name in serving} == serving


async def test_a_stream_through_a_killed_envoy_ends_at_once_and_its_service_call_is_cancelled(
    split: Stack, upstream: FakeUpstream
) -> None:
    upstream.behaviour = Behaviour(deltas=["x "] * 1000, pause=0.05)
    conversation = "through a killed envoy"
    async with split.channel() as channel:
        call = ChatServiceStub(channel).Chat(
            request("hello", conversation=conversation), metadata=split.metadata, timeout=CALL_SECONDS
        )
        events = aiter(call)
        assert (await anext(events)).HasField("started")
        killed = split.kill("envoy")
        began = get_running_loop().time()
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            async for _ in events:
                pass
        assert get_running_loop().time() - began < 2
        assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
        await upstream.until(open=0)
        await split.restarted("envoy", killed)
        (row,) = await usage(channel, split, conversation)
        assert row.outcome == UsageRecord.OUTCOME_CANCELLED


async def test_a_killed_serve_process_comes_back_and_nothing_acknowledged_is_lost(split: Stack) -> None:
    async with split.channel() as channel:
        async with Load(split) as load:
            await load.more()
            await split.restarted("serve", split.kill("serve"))
            await load.more()
        await load.nothing_lost(channel)
    assert load.failures
    for turn in load.failures:
        if turn.chat_id:
            # Envoy can only reset a stream that has begun, which gRPC reports so. The final event is missing.
            assert turn.status in ("INTERNAL", "UNAVAILABLE")
        else:
            assert turn.status == "UNAVAILABLE"
            assert turn.reason in ("INSTANCE_LOST", "NO_LIVE_INSTANCE")
    assert load.slowest < SLOWEST_SECONDS


async def test_the_gateway_says_what_is_missing_while_a_serve_process_restarts(split: Stack) -> None:
    async with split.http() as http:
        killed = split.kill("serve")

        async def reported() -> bool:
            answer = await http.get("/ready")
            return answer.status_code == 503 and answer.json()["services"]["model"] == "no live instance"

        await until(reported)
        answer = await http.get("/v1/usage")
        openai = await http.get("/v1/models")
        await split.restarted("serve", killed)
        assert (answer.status_code, openai.status_code) == (503, 503)
        assert answer.json()["error"]["status"] == "UNAVAILABLE"
        # OpenAI's paths have errors in OpenAI's shape, also if the gateway answers.
        assert openai.json()["error"]["type"] == "server_error"

        async def ready() -> bool:
            return (await http.get("/ready")).status_code == 200

        await until(ready)
        assert (await http.get("/v1/usage")).status_code == 200


async def test_parts_killed_one_after_the_other_leave_no_call_and_no_descriptor_behind(
    split: Stack, upstream: FakeUpstream
) -> None:
    serve = split.process("serve")

    async def quiet() -> bool:
        return await split.measured("rpc_server_active_calls") == resting and upstream.open == 0

    async def round_of_kills() -> None:
        async with Load(split) as load:
            for name in ("redis", "postgres", "envoy", "serve-memory"):
                await split.restarted(name, split.kill(name))
                await load.more(1)

    async def settled() -> bool:
        return serve.num_fds() <= descriptors + POOL_ALLOWANCE

    resting = await split.measured("rpc_server_active_calls")
    await round_of_kills()
    await until(quiet)
    descriptors = serve.num_fds()
    await round_of_kills()
    await until(quiet)
    await until(settled)
