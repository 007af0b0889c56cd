"""The pipeline as a caller sees it: who may call, what is validated, which errors there are."""

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import grpc
import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client import REGISTRY
from soma.testing.v1 import echo_service_pb2 as pb
from soma.testing.v1.echo_service_pb2_grpc import (
    EchoServiceServicer,
    EchoServiceStub,
    add_EchoServiceServicer_to_server,
)
from structlog.testing import capture_logs

from services.mesh.call import errors
from services.mesh.call.call import current_call, never_ends, principal, run_as
from services.mesh.call.principal import Principal
from services.mesh.call.spans import Spans, annotate
from services.mesh.call.status import from_rpc_error
from services.mesh.call.token import METADATA_KEY
from services.mesh.call.trace import Trace
from services.mesh.testing.local import KEY, SIGNER, SOMEBODY, LocalMesh
from services.mesh.testing.waiting import until
from services.mesh.transport.routed import RoutedChannel
from services.mesh.transport.server import Server


class Scripted(EchoServiceServicer):
    """Calls a function of the test for `Echo`."""

    def __init__(self, behaviour: Any) -> None:
        self._behaviour = behaviour

    async def Echo(self, request: pb.EchoRequest, context: Any) -> pb.EchoResponse:
        response: pb.EchoResponse = await self._behaviour(request)
        return response

    async def StreamEcho(self, request: pb.StreamEchoRequest, context: Any) -> AsyncIterator[pb.StreamEchoResponse]:
        yield pb.StreamEchoResponse(text=request.text)

    async def CollectEchoes(self, request_iterator: Any, context: Any) -> pb.CollectEchoesResponse:
        return pb.CollectEchoesResponse(count=len([request async for request in request_iterator]))

    async def ChatEchoes(self, request_iterator: Any, context: Any) -> AsyncIterator[pb.ChatEchoesResponse]:
        async for request in request_iterator:
            yield pb.ChatEchoesResponse(text=request.text)


class Plain(Scripted):
    """Calls a plain function of the test for `Echo`, and is one itself."""

    def Echo(self, request: pb.EchoRequest, context: Any) -> pb.EchoResponse:  # type: ignore[override]
        response: pb.EchoResponse = self._behaviour(request)
        return response


async def echo(request: pb.EchoRequest) -> pb.EchoResponse:
    """Answer with the caller's subject."""
    return pb.EchoResponse(text=principal().subject)


class Socket:
    """A mesh behind a real server on a free port."""

    def __init__(self, behaviour: Any, servicer: type[Scripted] = Scripted) -> None:
        mesh = LocalMesh(((add_EchoServiceServicer_to_server, servicer(behaviour)),))
        self._server = Server(mesh.handlers, mesh.drain, max_message_bytes=4 << 20)

    async def __aenter__(self) -> Any:
        port = await self._server.start("127.0.0.1:0")
        self.channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}")
        return EchoServiceStub(self.channel)

    async def __aexit__(self, *_: object) -> None:
        await self.channel.close()
        await self._server.stop(0)


def local(
    behaviour: Any, spans: Spans | None = None, *, servicer: type[Scripted] = Scripted, strict: bool = False
) -> Any:
    """A stub on the local channel."""
    mesh = LocalMesh(((add_EchoServiceServicer_to_server, servicer(behaviour)),), spans=spans, strict=strict)
    return EchoServiceStub(mesh.channel)


async def failure(call: Any) -> errors.MeshError:
    """The error of a call, which must fail."""
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call
    return from_rpc_error(raised.value)


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        ((), "CREDENTIAL_MISSING"),
        ((("authorization", "Bearer wrong"),), "CREDENTIAL_INVALID"),
        ((("authorization", f"Basic {KEY}"),), "CREDENTIAL_INVALID"),
        ((("authorization", "Bearer "),), "CREDENTIAL_INVALID"),
        ((("x-api-key", "wrong"),), "CREDENTIAL_INVALID"),
        (((METADATA_KEY, "forged"),), "TOKEN_INVALID"),
    ],
)
async def test_a_call_from_outside_without_a_valid_credential_is_refused(metadata: Any, reason: str) -> None:
    async with Socket(echo) as stub:
        error = await failure(stub.Echo(pb.EchoRequest(), metadata=metadata))
    assert (error.code, error.reason) == (errors.Code.UNAUTHENTICATED, reason)


@pytest.mark.parametrize(
    ("metadata", "subject"),
    [
        ((("authorization", f"Bearer {KEY}"),), "dev"),
        ((("x-api-key", KEY),), "dev"),
        ((), "alex"),
    ],
)
async def test_a_call_runs_as_the_principal_of_its_credential_or_its_signed_principal(
    metadata: Any, subject: str
) -> None:
    # Signed here, because a token is valid for a minute and this list is made when the tests are collected.
    metadata = metadata or ((METADATA_KEY, SIGNER.sign(SOMEBODY)),)
    async with Socket(echo) as stub:
        assert (await stub.Echo(pb.EchoRequest(), metadata=metadata)).text == subject


@pytest.mark.parametrize("scopes", [{"test:echo"}, {"test:*"}, {"*"}])
async def test_a_principal_with_the_scope_is_accepted(scopes: set[str]) -> None:
    with run_as(Principal("acme", "alex", scopes=frozenset(scopes))):
        assert (await local(echo).Echo(pb.EchoRequest())).text == "alex"


@pytest.mark.parametrize("scopes", [set(), {"read:*"}, {"test:other"}])
async def test_a_principal_without_the_scope_is_refused_with_the_name_of_the_scope(scopes: set[str]) -> None:
    with run_as(Principal("acme", "alex", scopes=frozenset(scopes))):
        error = await failure(local(echo).Echo(pb.EchoRequest()))
    assert (error.code, error.facts.metadata["scope"]) == (errors.Code.PERMISSION_DENIED, "test:echo")


async def test_what_a_service_calls_for_a_caller_needs_no_scope_of_the_caller() -> None:
    nobody = Principal("acme", "alex", scopes=frozenset({"test:other"}))
    with run_as(nobody, inside=True):
        assert (await local(echo).Echo(pb.EchoRequest())).text == "alex"
    async with Socket(echo) as stub:
        signed = ((METADATA_KEY, SIGNER.sign(nobody, inside=True)),)
        assert (await stub.Echo(pb.EchoRequest(), metadata=signed)).text == "alex"
        error = await failure(stub.Echo(pb.EchoRequest(), metadata=((METADATA_KEY, SIGNER.sign(nobody)),)))
    assert error.facts.metadata["scope"] == "test:echo"


async def test_a_local_call_without_a_principal_is_refused() -> None:
    assert (await failure(local(echo).Echo(pb.EchoRequest()))).code is errors.Code.UNAUTHENTICATED


async def test_every_violation_of_the_contract_is_named_by_its_field() -> None:
    request = pb.EchoRequest(script=pb.Script(fail_code=99, count=-1))
    with run_as(SOMEBODY):
        error = await failure(local(echo).Echo(request))
    assert error.code is errors.Code.INVALID_ARGUMENT
    assert [v.field for v in error.facts.violations] == ["script.fail_code", "script.count"]


@pytest.mark.parametrize("method", ["Echo", "StreamEcho", "CollectEchoes", "ChatEchoes"])
@pytest.mark.parametrize("data", [b"\xff", b"\x0a\x01\xff"], ids=["no message", "no UTF-8"])
async def test_bytes_that_are_not_a_message_are_an_invalid_argument(method: str, data: bytes) -> None:
    metadata = (("authorization", f"Bearer {KEY}"),)
    socket = Socket(echo)
    async with socket:
        channel: Any = socket.channel
        path = f"/soma.testing.v1.EchoService/{method}"
        if method in ("Echo", "StreamEcho"):
            unary = channel.unary_unary if method == "Echo" else channel.unary_stream
            call: Any = unary(path)(data, metadata=metadata)
        else:
            streaming = channel.stream_unary if method == "CollectEchoes" else channel.stream_stream
            call = streaming(path)(iter([data]), metadata=metadata)
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await (call if method in ("Echo", "CollectEchoes") else call.read())
    error = from_rpc_error(raised.value)
    assert (error.code, error.reason) == (errors.Code.INVALID_ARGUMENT, "MALFORMED_MESSAGE")


async def test_the_caller_is_checked_before_the_request() -> None:
    async with Socket(echo) as stub:
        error = await failure(stub.Echo(pb.EchoRequest(script=pb.Script(fail_code=99))))
    assert error.code is errors.Code.UNAUTHENTICATED


async def test_an_unexpected_exception_is_an_internal_error_without_its_text() -> None:
    async def behaviour(_: pb.EchoRequest) -> pb.EchoResponse:
        raise ValueError("the password is hunter2")

    with run_as(SOMEBODY):
        error = await failure(local(behaviour).Echo(pb.EchoRequest()))
    assert (error.code, error.message) == (errors.Code.INTERNAL, "internal error")
    assert re.fullmatch("[0-9a-f]{32}", error.facts.metadata["trace_id"])


async def test_the_error_of_a_neighbour_is_passed_on_unchanged() -> None:
    async def inner(_: pb.EchoRequest) -> pb.EchoResponse:
        raise errors.ResourceExhausted("no more today", reason="QUOTA", metadata={"limit": "3"}, retry_after=7.0)

    mesh = LocalMesh(((add_EchoServiceServicer_to_server, Scripted(inner)),))
    neighbour: Any = EchoServiceStub(RoutedChannel(lambda: mesh.channel))

    async def outer(request: pb.EchoRequest) -> pb.EchoResponse:
        response: pb.EchoResponse = await neighbour.Echo(request)
        return response

    with run_as(SOMEBODY):
        error = await failure(local(outer).Echo(pb.EchoRequest()))
    assert (error.code, error.reason, error.message) == (errors.Code.RESOURCE_EXHAUSTED, "QUOTA", "no more today")
    assert (error.facts.metadata, error.facts.retry_after) == ({"limit": "3"}, 7.0)


async def test_an_error_of_a_channel_outside_the_mesh_is_an_internal_error() -> None:
    async def behaviour(_: pb.EchoRequest) -> pb.EchoResponse:
        raise grpc.aio.AioRpcError(
            grpc.StatusCode.NOT_FOUND, grpc.aio.Metadata(), grpc.aio.Metadata(), "of another company's server"
        )

    with run_as(SOMEBODY):
        error = await failure(local(behaviour).Echo(pb.EchoRequest()))
    assert (error.code, error.message) == (errors.Code.INTERNAL, "internal error")


@pytest.mark.parametrize("over", ["local", "socket"])
async def test_a_servicer_that_awaits_something_cancelled_does_not_hang_its_caller(over: str) -> None:
    async def behaviour(_: pb.EchoRequest) -> pb.EchoResponse:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        future.cancel()
        await future
        return pb.EchoResponse()

    metadata = (("x-api-key", KEY),)
    async with asyncio.timeout(15), Socket(behaviour) as socket:
        with run_as(SOMEBODY):
            stub = local(behaviour) if over == "local" else socket
            error = await failure(stub.Echo(pb.EchoRequest(), metadata=metadata))
    assert (error.code, error.reason) == (errors.Code.INTERNAL, "STEP_CANCELLED")


@pytest.mark.parametrize("over", ["local", "strict", "socket"])
async def test_a_servicer_may_be_a_plain_function(over: str) -> None:
    def behaviour(request: pb.EchoRequest) -> pb.EchoResponse:
        if request.text == "refuse":
            raise errors.ResourceExhausted("no more today", reason="QUOTA", retry_after=7.0)
        if request.text == "fail":
            raise ValueError("the password is hunter2")
        return pb.EchoResponse(text=principal().subject)

    metadata = (("x-api-key", KEY),)
    async with Socket(behaviour, Plain) as socket:
        stub = socket if over == "socket" else local(behaviour, servicer=Plain, strict=over == "strict")
        with run_as(SOMEBODY) as call:
            answer = await stub.Echo(pb.EchoRequest(), metadata=metadata)
            refused = await failure(stub.Echo(pb.EchoRequest(text="refuse"), metadata=metadata))
            failed = await failure(stub.Echo(pb.EchoRequest(text="fail"), metadata=metadata))
            invalid = await failure(stub.Echo(pb.EchoRequest(script=pb.Script(count=-1)), metadata=metadata))
            assert current_call() is call
        if over != "socket":
            assert (await failure(stub.Echo(pb.EchoRequest()))).code is errors.Code.UNAUTHENTICATED
    assert answer.text == ("dev" if over == "socket" else "alex")
    assert (refused.code, refused.reason, refused.facts.retry_after) == (errors.Code.RESOURCE_EXHAUSTED, "QUOTA", 7.0)
    assert (failed.code, failed.message) == (errors.Code.INTERNAL, "internal error")
    assert [each.field for each in invalid.facts.violations] == ["script.count"]


async def test_a_plain_function_has_answered_a_call_inside_the_process_before_anything_else_runs() -> None:
    answered = []

    def behaviour(request: pb.EchoRequest) -> pb.EchoResponse:
        answered.append(request.text)
        return pb.EchoResponse(text=request.text)

    stub = local(behaviour, servicer=Plain)
    with run_as(SOMEBODY):
        call = stub.Echo(pb.EchoRequest(text="now"), timeout=30)
        assert answered == ["now"]
        assert call.done()
        assert not call.cancel()
        assert (await call).text == "now"
        assert await call.code() is grpc.StatusCode.OK
        late = stub.Echo(pb.EchoRequest(text="late"), timeout=0)
    assert (await failure(late)).code is errors.Code.DEADLINE_EXCEEDED
    assert answered == ["now"]


async def test_a_hop_has_no_more_time_than_its_caller() -> None:
    left: list[float | None] = []

    async def inner(_: pb.EchoRequest) -> pb.EchoResponse:
        call = current_call()
        left.append(call.remaining() if call else None)
        return pb.EchoResponse()

    neighbour = local(inner)

    async def outer(request: pb.EchoRequest) -> pb.EchoResponse:
        await neighbour.Echo(request)
        await neighbour.Echo(request, timeout=60)
        await neighbour.Echo(request, timeout=2)
        return pb.EchoResponse()

    with run_as(SOMEBODY):
        await local(outer).Echo(pb.EchoRequest(), timeout=10)
    assert all(5 < (seconds or 0) <= 10 for seconds in left[:2])
    assert 0 < (left[2] or 0) <= 2


async def test_a_call_whose_deadline_has_passed_does_not_begin() -> None:
    begun: list[bool] = []

    async def behaviour(_: pb.EchoRequest) -> pb.EchoResponse:
        begun.append(True)
        return pb.EchoResponse()

    with run_as(SOMEBODY, timeout=0):
        error = await failure(local(behaviour).Echo(pb.EchoRequest()))
    assert error.code is errors.Code.DEADLINE_EXCEEDED
    assert begun == []


async def test_a_sampled_trace_is_recorded_hop_by_hop_and_an_unsampled_one_is_not() -> None:
    exporter = InMemorySpanExporter()
    spans = Spans("test", None, exporter)

    async def inner(_: pb.EchoRequest) -> pb.EchoResponse:
        annotate(gen_ai__request__model="m")
        return pb.EchoResponse()

    neighbour = local(inner, spans)

    async def outer(request: pb.EchoRequest) -> pb.EchoResponse:
        response: pb.EchoResponse = await neighbour.Echo(request)
        return response

    stub = local(outer, spans)
    with run_as(SOMEBODY, trace=Trace(7, 8, sampled=False)):
        await stub.Echo(pb.EchoRequest())
    with run_as(SOMEBODY, trace=Trace(11, 12, sampled=True)):
        await stub.Echo(pb.EchoRequest())
    spans.close()
    recorded = {span.context.span_id: span for span in exporter.get_finished_spans() if span.context}
    assert {span.context.trace_id for span in recorded.values() if span.context} == {11}
    first, second = sorted(recorded.values(), key=lambda span: span.start_time or 0)
    assert first.parent
    assert second.parent
    assert first.context
    assert (first.parent.span_id, second.parent.span_id) == (12, first.context.span_id)
    assert first.name == "soma.testing.v1.EchoService/Echo"
    assert (first.attributes or {})["rpc.method"] == "soma.testing.v1.EchoService/Echo"
    assert (second.attributes or {})["gen_ai.request.model"] == "m"


async def test_logs_and_traces_name_whose_call_it_is_and_who_acts() -> None:
    exporter = InMemorySpanExporter()
    spans = Spans("test", None, exporter)

    async def behaviour(_: pb.EchoRequest) -> pb.EchoResponse:
        raise errors.NotFound("nothing here")

    with capture_logs() as logged, run_as(SOMEBODY.delegated("work:1"), trace=Trace(11, 12, sampled=True)):
        await failure(local(behaviour, spans).Echo(pb.EchoRequest()))
    spans.close()
    (entry,) = [each for each in logged if each["event"] == "call failed"]
    assert (entry["subject"], entry["act"]) == (SOMEBODY.subject, ["work:1"])
    (span,) = exporter.get_finished_spans()
    attributes = span.attributes or {}
    assert (attributes["enduser.id"], attributes["soma.act"]) == (SOMEBODY.subject, ("work:1",))


async def test_a_trace_crosses_a_socket_by_its_traceparent() -> None:
    seen: list[str] = []

    async def behaviour(_: pb.EchoRequest) -> pb.EchoResponse:
        call = current_call()
        seen.append(call.trace_id if call else "")
        return pb.EchoResponse()

    trace = Trace(0xABC, 0xDEF, sampled=False)
    async with Socket(behaviour) as stub:
        await stub.Echo(pb.EchoRequest(), metadata=(("x-api-key", KEY), ("traceparent", trace.traceparent)))
    assert seen == [trace.hex_id]


async def test_calls_are_counted_by_method_and_status() -> None:
    def count(code: str) -> float:
        labels = {"rpc_method": "soma.testing.v1.EchoService/Echo", "rpc_response_status_code": code}
        return REGISTRY.get_sample_value("rpc_server_call_duration_seconds_count", labels) or 0

    async def behaviour(_: pb.EchoRequest) -> pb.EchoResponse:
        raise errors.NotFound("nothing here")

    before = count("OK"), count("NOT_FOUND")
    with run_as(SOMEBODY):
        await local(echo).Echo(pb.EchoRequest())
        await failure(local(behaviour).Echo(pb.EchoRequest()))
    assert (count("OK"), count("NOT_FOUND")) == (before[0] + 1, before[1] + 1)


async def test_each_message_of_an_upload_is_validated() -> None:
    async def requests() -> AsyncIterator[pb.CollectEchoesRequest]:
        yield pb.CollectEchoesRequest(text="good")
        yield pb.CollectEchoesRequest(script=pb.Script(count=-1))

    with run_as(SOMEBODY):
        error = await failure(local(echo).CollectEchoes(requests()))
    assert error.code is errors.Code.INVALID_ARGUMENT


async def test_a_stopping_server_waits_for_a_call_and_then_ends_it_with_a_reason() -> None:
    entered = asyncio.Event()

    async def behaviour(_: pb.EchoRequest) -> pb.EchoResponse:
        entered.set()
        await asyncio.Event().wait()
        return pb.EchoResponse()

    mesh = LocalMesh(((add_EchoServiceServicer_to_server, Scripted(behaviour)),))
    server = Server(mesh.handlers, mesh.drain, max_message_bytes=4 << 20)
    port = await server.start("127.0.0.1:0")
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        call: Any = EchoServiceStub(channel).Echo(pb.EchoRequest(), metadata=(("x-api-key", KEY),))
        await entered.wait()
        assert await server.stop(0.05) == 1
        error = await failure(call)
    assert (error.code, error.reason) == (errors.Code.UNAVAILABLE, "DRAINING")


async def test_a_stopping_server_lets_a_call_finish() -> None:
    entered, may_end = asyncio.Event(), asyncio.Event()

    async def behaviour(_: pb.EchoRequest) -> pb.EchoResponse:
        entered.set()
        await may_end.wait()
        return pb.EchoResponse(text="done")

    mesh = LocalMesh(((add_EchoServiceServicer_to_server, Scripted(behaviour)),))
    server = Server(mesh.handlers, mesh.drain, max_message_bytes=4 << 20)
    port = await server.start("127.0.0.1:0")
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        call: Any = EchoServiceStub(channel).Echo(pb.EchoRequest(), metadata=(("x-api-key", KEY),))
        await entered.wait()
        stopping = asyncio.create_task(server.stop(5))
        asyncio.get_running_loop().call_later(0.05, may_end.set)
        assert (await call).text == "done"
        assert await stopping == 0


async def test_a_stopping_process_does_not_wait_for_an_endless_call_that_it_makes_again() -> None:
    entered: list[str] = []
    may_end = asyncio.Event()

    async def behaviour(request: pb.EchoRequest) -> pb.EchoResponse:
        if request.text == "endless":
            never_ends()
        entered.append(request.text)
        await (may_end if request.text == "work" else asyncio.Event()).wait()
        return pb.EchoResponse(text="done")

    mesh = LocalMesh(((add_EchoServiceServicer_to_server, Scripted(behaviour)),))
    stub = EchoServiceStub(mesh.channel)
    with run_as(SOMEBODY):
        work = stub.Echo(pb.EchoRequest(text="work"))
        await until(lambda: entered == ["work"])
        stopping = asyncio.create_task(mesh.drain.finish(60))
        endless = stub.Echo(pb.EchoRequest(text="endless"))
        await until(lambda: entered == ["work", "endless"])
        may_end.set()
        assert (await work).text == "done"
        # Only the endless call had to be ended; with a wait for it, this would take a minute.
        assert await stopping == 1
        assert (await failure(endless)).reason == "DRAINING"


async def test_a_stopping_process_does_not_wait_for_a_call_that_never_ends() -> None:
    entered, may_end = asyncio.Event(), asyncio.Event()

    async def behaviour(request: pb.EchoRequest) -> pb.EchoResponse:
        if request.text == "endless":
            never_ends()
            entered.set()
        await may_end.wait()
        return pb.EchoResponse(text="done")

    mesh = LocalMesh(((add_EchoServiceServicer_to_server, Scripted(behaviour)),))
    server = Server(mesh.handlers, mesh.drain, max_message_bytes=4 << 20)
    port = await server.start("127.0.0.1:0")
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = EchoServiceStub(channel)
        calls: list[Any] = [
            stub.Echo(pb.EchoRequest(text=text), metadata=(("x-api-key", KEY),)) for text in ("endless", "long")
        ]
        await entered.wait()
        assert mesh.drain.end(endless=True) == 1
        error = await failure(calls[0])
        may_end.set()
        assert (await calls[1]).text == "done"
        await server.stop(0)
    assert (error.code, error.reason) == (errors.Code.UNAVAILABLE, "DRAINING")


@pytest.mark.parametrize("state", ["22021", "22P05"])
async def test_text_that_postgres_cannot_store_is_an_invalid_argument(state: str) -> None:
    async def behaviour(_: pb.EchoRequest) -> pb.EchoResponse:
        raise asyncpg.PostgresError.new({"C": state, "S": "ERROR", "M": "invalid byte sequence"})

    with run_as(SOMEBODY):
        error = await failure(local(behaviour).Echo(pb.EchoRequest()))
    assert (error.code, error.reason) == (errors.Code.INVALID_ARGUMENT, "TEXT_NOT_STORABLE")


async def test_a_call_knows_whether_it_is_local_and_has_no_reference_to_its_caller() -> None:
    seen = []

    async def look(request: pb.EchoRequest) -> pb.EchoResponse:
        call = current_call()
        assert call is not None
        seen.append((call.local, call.caller))
        return pb.EchoResponse(text=principal().subject)

    with run_as(SOMEBODY):
        await local(look).Echo(pb.EchoRequest())
    async with Socket(look) as stub:
        await stub.Echo(pb.EchoRequest(), metadata=(("authorization", f"Bearer {KEY}"),))
    assert seen == [(True, None), (False, None)]
