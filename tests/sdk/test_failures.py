"""Every failure is a typed exception with its reason and the id of the request."""

import asyncio
import logging

import grpc
import pytest
import somamesh
from somamesh import APIError, AsyncClient, Client
from somamesh.failures import from_rpc_error

from services.mesh.call import errors
from tests.sdk.conftest import KEY, Server
from tests.sdk.drivers import Driver, driving

KINDS: list[tuple[errors.MeshError, type[APIError]]] = [
    (errors.InvalidArgument("no"), somamesh.InvalidRequestError),
    (errors.FailedPrecondition("no"), somamesh.InvalidRequestError),
    (errors.Unimplemented("no"), somamesh.InvalidRequestError),
    (errors.Unauthenticated("no"), somamesh.AuthenticationError),
    (errors.PermissionDenied("no", reason="POLICY_DENIED"), somamesh.PermissionDeniedError),
    (errors.NotFound("no", metadata={"key": "k"}), somamesh.NotFoundError),
    (errors.AlreadyExists("no"), somamesh.ConflictError),
    (errors.Aborted("no"), somamesh.ConflictError),
    (errors.ResourceExhausted("no", retry_after=1.5), somamesh.RateLimitError),
    (errors.Unavailable("no"), somamesh.UnavailableError),
    (errors.DeadlineExceeded("no"), somamesh.DeadlineError),
    (errors.Internal("no"), somamesh.ServerError),
]


@pytest.mark.parametrize(("failure", "kind"), KINDS)
async def test_every_failure_has_its_class_its_reason_and_the_request_id(
    server: Server, client: Driver, failure: errors.MeshError, kind: type[APIError]
) -> None:
    server.chat.script = [failure]
    with pytest.raises(kind) as caught:
        await client.call("chat", "Hi")
    raised = caught.value
    assert type(raised) is kind
    assert (raised.message, raised.reason, raised.status) == ("no", failure.reason, failure.code.name)
    assert (raised.retry_after, raised.metadata) == (failure.facts.retry_after, failure.facts.metadata)
    assert raised.request_id == server.chat.metadata["x-request-id"]
    assert raised.request_id in str(raised)


async def test_a_wrong_field_is_named(client: Driver) -> None:
    with pytest.raises(somamesh.InvalidRequestError) as caught:
        await client.call("chat", "Hi", temperature=3)
    assert list(caught.value.fields) == ["options.sampling.temperature"]


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_a_wrong_key_is_refused(server: Server, kind: str) -> None:
    async with driving(kind, server.url, "wrong") as client:
        with pytest.raises(somamesh.AuthenticationError) as caught:
            await client.call("list_models")
    assert caught.value.reason == "CREDENTIAL_INVALID"


async def test_a_turn_past_its_timeout_fails(server: Server, client: Driver) -> None:
    server.chat.script = [asyncio.Event()]
    with pytest.raises(somamesh.DeadlineError):
        await client.call("chat", "Hi", timeout=0.1)


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_a_mesh_that_is_not_running_is_unavailable(kind: str) -> None:
    async with driving(kind, "http://127.0.0.1:9", KEY, max_retries=0) as client:
        with pytest.raises(somamesh.UnavailableError):
            await client.call("list_models")


def test_a_stream_the_gateway_had_to_reset_was_cut_off() -> None:
    """After an answer has begun, Envoy can only reset the stream, and gRPC reports a reset as INTERNAL."""
    text = "Received RST_STREAM with error code 2"
    reset = grpc.aio.AioRpcError(grpc.StatusCode.INTERNAL, grpc.aio.Metadata(), grpc.aio.Metadata(), text)
    raised = from_rpc_error(reset, "req_1")
    assert isinstance(raised, somamesh.UnavailableError)
    assert (raised.reason, raised.status, raised.request_id) == ("STREAM_CUT", "UNAVAILABLE", "req_1")


async def test_closing_the_client_fails_its_calls_and_cancels_no_task(server: Server) -> None:
    server.chat.script = [asyncio.Event()]
    client = AsyncClient(server.url, KEY)
    asking = asyncio.create_task(client.chat("Hi"))
    async with asyncio.timeout(15):
        await server.chat.begun.wait()
        await client.close()
        with pytest.raises(somamesh.UnavailableError):
            await asking


async def test_a_client_closed_by_another_thread_fails_its_turn(server: Server) -> None:
    server.chat.script = [asyncio.Event()]
    client = Client(server.url, KEY)
    asking = asyncio.create_task(asyncio.to_thread(client.chat, "Hi"))
    async with asyncio.timeout(15):
        await server.chat.begun.wait()
        client.close()
        with pytest.raises(somamesh.UnavailableError):
            await asking


async def test_cancelling_a_task_cancels_its_call(server: Server, soma: AsyncClient) -> None:
    server.chat.script = [asyncio.Event()]
    asking = asyncio.create_task(soma.chat("Hi"))
    async with asyncio.timeout(15):
        await server.chat.begun.wait()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await server.chat.ended.wait()


async def test_calls_are_logged_with_their_request_id_and_without_their_content(
    server: Server, client: Driver, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, logger="somamesh"):
        await client.call("chat", "a secret")
        with pytest.raises(somamesh.NotFoundError) as caught:
            await client.call("recall", "another secret")
    answered, missed = (record.getMessage() for record in caplog.records if record.name == "somamesh")
    asked = str(server.chat.metadata["x-request-id"])
    assert answered.startswith(f"Chat {asked} OK after ")
    assert missed.startswith(f"Recall {caught.value.request_id} MEMORY_NOT_FOUND after ")
    assert "secret" not in caplog.text
    assert KEY not in caplog.text
