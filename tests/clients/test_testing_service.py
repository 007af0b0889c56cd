"""The echo service belongs to a stack only while a process serves it."""

from collections.abc import AsyncGenerator

import grpc
from grpc_health.v1 import health_pb2

from cli.reflection import Reflection
from services.mesh.testing.waiting import until
from tests.clients.calls import ECHO, echoed, health
from tests.e2e.stack import CALL_SECONDS, Stack

STATUS = health_pb2.HealthCheckResponse.ServingStatus


async def states(channel: grpc.aio.Channel) -> AsyncGenerator[str, None]:
    """The states that a watcher of the echo service's health receives."""
    watch = channel.unary_stream(
        "/grpc.health.v1.Health/Watch",
        request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
        response_deserializer=health_pb2.HealthCheckResponse.FromString,
    )
    async for answer in watch(health_pb2.HealthCheckRequest(service=ECHO), timeout=4 * CALL_SECONDS):
        yield STATUS.Name(answer.status)


async def test_the_echo_service_is_available_while_a_process_serves_it(stack: Stack, channel: grpc.aio.Channel) -> None:
    async def answers() -> bool:
        return await echoed(channel, stack) == "a"

    async def is_unknown() -> bool:
        return await echoed(channel, stack) == "UNKNOWN_SERVICE"

    # Envoy learns a moment later that the process of another test has ended.
    await until(is_unknown)
    assert ECHO not in await Reflection(channel).services()
    async with stack.serving("testing"):
        await until(answers)
        assert ECHO in await Reflection(channel).services()
        watched = states(channel)
        assert await anext(watched) == "SERVING"
    assert await anext(watched) == "NOT_SERVING"
    await watched.aclose()
    await until(is_unknown)
    assert ECHO not in await Reflection(channel).services()
    assert await health(channel, "") == "SERVING"
