"""Health and reflection cover every service, in any process."""

import grpc
import pytest
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha import reflection_pb2
from soma.testing.v1.echo_service_pb2 import EchoRequest

from cli.reflection import Reflection
from gateway.contracts import public_services
from tests.clients.calls import ECHO, health
from tests.e2e.stack import CALL_SECONDS, Stack

SERVED = [*public_services(), ECHO]


@pytest.mark.parametrize("service", [*SERVED, ""])
async def test_each_service_is_healthy_under_its_own_name(echo: Stack, channel: grpc.aio.Channel, service: str) -> None:
    del echo
    assert await health(channel, service) == "SERVING"


async def test_the_health_of_an_unknown_service_is_not_found(stack: Stack, channel: grpc.aio.Channel) -> None:
    del stack
    assert await health(channel, "soma.nowhere.v1.NowhereService") == "NOT_FOUND"


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
async def test_reflection_lists_and_describes_the_services_of_every_process(
    echo: Stack, channel: grpc.aio.Channel, version: str
) -> None:
    del echo
    ask = channel.stream_stream(
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )
    questions = [
        reflection_pb2.ServerReflectionRequest(list_services=""),
        *(reflection_pb2.ServerReflectionRequest(file_containing_symbol=name) for name in SERVED),
    ]
    answers = [answer async for answer in ask(iter(questions), timeout=CALL_SECONDS)]
    listed = [service.name for service in answers[0].list_services_response.service]
    assert set(SERVED) <= set(listed)
    assert all(answer.file_descriptor_response.file_descriptor_proto for answer in answers[1:])


async def test_a_client_without_generated_code_uses_reflection(echo: Stack, channel: grpc.aio.Channel) -> None:
    method = await Reflection(channel).method(f"{ECHO}/Echo")
    answer_class = GetMessageClass(method.output_type)
    call = channel.unary_unary(
        f"/{ECHO}/Echo",
        request_serializer=EchoRequest.SerializeToString,
        response_deserializer=answer_class.FromString,
    )
    answer = await call(EchoRequest(text="found"), metadata=echo.metadata, timeout=CALL_SECONDS)
    assert getattr(answer, "text") == "found"  # noqa: B009 - its class is known at run time only
