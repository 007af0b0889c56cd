"""Calls for tests of the public port: the health of a service, and an echo."""

import grpc
from grpc_health.v1 import health_pb2
from soma.testing.v1.echo_service_pb2 import EchoRequest
from soma.testing.v1.echo_service_pb2_grpc import EchoServiceStub

from services.mesh.call.status import from_rpc_error
from tests.e2e.stack import CALL_SECONDS, Stack

ECHO = "soma.testing.v1.EchoService"


async def health(channel: grpc.aio.Channel, service: str) -> str:
    """The health of a service from `grpc.health.v1`: SERVING, NOT_SERVING, or the code of the error."""
    check = channel.unary_unary(
        "/grpc.health.v1.Health/Check",
        request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
        response_deserializer=health_pb2.HealthCheckResponse.FromString,
    )
    try:
        answer = await check(health_pb2.HealthCheckRequest(service=service), timeout=CALL_SECONDS)
    except grpc.aio.AioRpcError as error:
        return error.code().name
    return health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)


async def echoed(channel: grpc.aio.Channel, stack: Stack) -> str:
    """The answer of EchoService to "a", which is the same text, or the reason of the error."""
    call = EchoServiceStub(channel).Echo(EchoRequest(text="a"), metadata=stack.metadata, timeout=CALL_SECONDS)
    try:
        return (await call).text
    except grpc.aio.AioRpcError as error:
        return from_rpc_error(error).reason
