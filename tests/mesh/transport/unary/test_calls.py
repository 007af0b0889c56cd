"""The metadata of unary calls, and how the calls end."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote

import grpc
import pytest
from soma.testing.v1 import echo_service_pb2 as pb
from soma.testing.v1 import echo_service_pb2_grpc as rpc
from structlog.testing import capture_logs

from services.mesh.call import errors
from services.mesh.call.handlers import collect
from services.mesh.call.pipeline import Pipeline
from services.mesh.call.status import from_status
from services.mesh.testing.echo import EchoServicer
from services.mesh.testing.waiting import until
from services.mesh.transport.unary.server import UnaryServer
from tests.mesh.transport.unary.client import ECHO, Answer, Client, connected, framed, message, request
from tests.mesh.transport.unary.conftest import Served

HELLO = request(framed(message()))
SLOW = request(framed(message(delay_seconds=30)))


class Scripted(EchoServicer):
    """Calls a function of the test for `Echo`."""

    def __init__(self, behaviour: Callable[[Any], Awaitable[Any]]) -> None:
        super().__init__()
        self._behaviour = behaviour

    async def Echo(self, request: pb.EchoRequest, context: Any) -> pb.EchoResponse:
        response: pb.EchoResponse = await self._behaviour(context)
        return response


@asynccontextmanager
async def scripted(behaviour: Callable[[Any], Awaitable[Any]]) -> AsyncIterator[Client]:
    """A connection to a server whose `Echo` is a function."""
    handlers = Pipeline(()).wrap_all(collect([(rpc.add_EchoServiceServicer_to_server, Scripted(behaviour))]))
    server = UnaryServer(handlers, max_message_bytes=1024)
    try:
        async with connected(await server.start("127.0.0.1")) as client:
            yield client
    finally:
        await server.stop()


async def answered(behaviour: Callable[[Any], Awaitable[Any]], *fields: tuple[str, str]) -> Answer:
    """The answer to a call that a function serves."""
    async with scripted(behaviour) as client:
        return await client.ask(request(framed(message()), *fields))


async def test_metadata_arrives_without_the_headers_of_the_transport(client: Client) -> None:
    fields = [
        ("x-test-a", "1"),
        ("X-Test-B", "Grüße"),
        ("x-test-a", "2"),
        ("x-test-c-bin", "AP8, AQ=="),
        ("x-test-d", ""),
    ]
    answer = await client.ask(request(framed(message()), *fields, ("grpc-timeout", "10S")))
    assert list(answer.response.observation.metadata) == [
        *("x-test-a=1", "x-test-b=Grüße", "x-test-a=2", "x-test-c-bin=00ff", "x-test-c-bin=01", "x-test-d="),
    ]
    assert 5 < answer.response.observation.time_remaining_seconds <= 10


async def test_a_value_that_is_not_utf8_is_latin1(client: Client) -> None:
    answer = await client.ask(request(framed(message()), ("x-test-a", "?")).replace(b"x-test-a: ?", b"x-test-a: \xe4"))
    assert list(answer.response.observation.metadata) == ["x-test-a=ä"]


async def test_trailers_of_a_request_are_ignored(client: Client) -> None:
    head = request(b"", ("x-test-a", "1")).replace(b"content-length: 0", b"transfer-encoding: chunked")
    body = framed(message())
    trailer = b"x-test-a: 2\r\ngrpc-timeout: 1H\r\ngrpc-encoding: gzip\r\n"
    answer = await client.ask(head, b"%x\r\n%s\r\n0\r\n%s\r\n" % (len(body), body, trailer))
    assert list(answer.response.observation.metadata) == ["x-test-a=1"]
    assert answer.response.observation.time_remaining_seconds == -1


async def test_binary_metadata_that_is_not_base64_is_an_invalid_argument() -> None:
    async def behaviour(context: Any) -> pb.EchoResponse:
        context.invocation_metadata()
        return pb.EchoResponse()

    answer = await answered(behaviour, ("x-test-bin", "?!"))
    assert (answer.status, answer.reason) == (3, "METADATA_MALFORMED")


@pytest.mark.parametrize(
    ("timeout", "seconds"),
    [("2H", 7200), ("3M", 180), ("40S", 40), ("50000m", 50), ("60000000u", 60), ("99999999n", 0.1)],
)
async def test_every_unit_of_a_timeout_is_read(client: Client, timeout: str, seconds: float) -> None:
    left: list[float] = []
    # A tenth of a second may be over before the servicer is asked.
    for _ in range(5):
        answer = await client.ask(request(framed(message()), ("grpc-timeout", timeout)))
        if answer.status == 0:
            left.append(answer.response.observation.time_remaining_seconds)
    assert seconds * 0.5 < max(left) <= seconds


@pytest.mark.parametrize("timeout", ["", "S", "1", "1s", "-1S", "123456789S", "1 S"])
async def test_an_invalid_timeout_is_ignored(client: Client, timeout: str) -> None:
    answer = await client.ask(request(framed(message()), ("grpc-timeout", timeout)))
    assert answer.response.observation.time_remaining_seconds == -1


async def test_a_call_whose_deadline_has_passed_does_not_begin(served: Served, client: Client) -> None:
    answer = await client.ask(request(framed(message()), ("grpc-timeout", "0m")))
    assert (answer.status, served.tally.served) == (4, 0)


async def test_an_error_has_no_body_and_its_message_may_have_any_characters(client: Client) -> None:
    said = "näh: 100 %\r\nset-cookie: a=b\n😀"
    answer = await client.ask(request(framed(message(fail_code=5, fail_message=said, retry_after_seconds=7))))
    assert (answer.status, answer.reason, answer.body, answer.trailer) == (5, "NOT_FOUND", b"", {})
    assert answer.head["grpc-message"] == "n%C3%A4h: 100 %25%0D%0Aset-cookie: a=b%0A%F0%9F%98%80"
    assert (answer.head["retry-after"], answer.head["content-length"]) == ("7", "0")
    assert "set-cookie" not in answer.head


@pytest.mark.parametrize("said", ["  both ends ", "   ", " ", "inner  spaces"])
async def test_spaces_in_a_message_are_kept(client: Client, said: str) -> None:
    answer = await client.ask(request(framed(message(fail_code=5, fail_message=said))))
    assert unquote(answer.head["grpc-message"]) == said


async def test_an_error_with_too_many_violations_has_only_the_first_ones() -> None:
    async def behaviour(_: Any) -> pb.EchoResponse:
        violations = [errors.FieldViolation(f"field[{n}]", "not so " * 20) for n in range(1000)]
        raise errors.InvalidArgument("no " * 20_000, reason="NOT_SO", violations=violations, retry_after=3)

    answer = await answered(behaviour)
    assert (answer.status, answer.reason, answer.head["retry-after"]) == (3, "NOT_SO", "3")
    error = from_status(answer.details)
    assert (error.facts.retry_after, error.message) == (3.0, ("no " * 20_000)[:1024])
    assert 50 < len(error.facts.violations) < 1000
    assert error.facts.violations[0].field == "field[0]"


async def test_initial_metadata_is_sent_before_the_response() -> None:
    go_on = asyncio.Event()

    async def behaviour(context: Any) -> pb.EchoResponse:
        await context.send_initial_metadata((("x-first", "1"),))
        with pytest.raises(grpc.aio.UsageError):
            await context.send_initial_metadata(())
        await go_on.wait()
        context.set_trailing_metadata((("x-last-bin", b"\0"),))
        return pb.EchoResponse(text="done")

    async with scripted(behaviour) as client, asyncio.timeout(10):
        client.writer.write(HELLO)
        while (line := await client.reader.readline()) != b"x-first: 1\r\n":
            assert line
        go_on.set()
        rest = await client.reader.readuntil(b"x-last-bin: AA\r\n\r\n")
    assert b"done" in rest


async def test_a_call_that_fails_after_its_initial_metadata_has_the_error_in_the_trailer() -> None:
    async def behaviour(context: Any) -> pb.EchoResponse:
        await context.send_initial_metadata((("x-first", "1"),))
        raise errors.NotFound("none")

    answer = await answered(behaviour)
    assert (answer.head["x-first"], answer.body, answer.status, answer.reason) == ("1", b"", 5, "NOT_FOUND")


@pytest.mark.parametrize(
    "pair",
    [
        *(("x-a", "1\r\nx-b: 2"), ("X-A", "1"), ("x a", "1"), ("x-a", "ä"), ("x-a", b"1")),
        *(("content-length", "5"), ("transfer-encoding", "chunked"), ("grpc-status", "7"), ("grpc-encoding", "gzip")),
    ],
)
@pytest.mark.parametrize("where", ["initial", "trailing"])
async def test_metadata_that_http_cannot_carry_is_an_internal_error(where: str, pair: tuple[str, str | bytes]) -> None:
    async def behaviour(context: Any) -> pb.EchoResponse:
        if where == "initial":
            await context.send_initial_metadata((pair,))
        else:
            context.set_trailing_metadata((pair,))
        return pb.EchoResponse()

    with capture_logs():
        answer = await answered(behaviour)
    assert (answer.status, answer.reason) == (13, "INTERNAL")
    assert "x-b" not in answer.head | answer.trailer


async def test_a_response_of_another_type_is_an_internal_error_without_its_text() -> None:
    async def behaviour(_: Any) -> Any:
        return "secret"

    with capture_logs() as logged:
        answer = await answered(behaviour)
    assert (answer.status, answer.head["grpc-message"]) == (13, "internal error")
    assert [entry["event"] for entry in logged] == ["unexpected error"]


@pytest.mark.parametrize("code", [grpc.StatusCode.NOT_FOUND, 5])
async def test_a_status_that_is_set_drops_the_response(code: grpc.StatusCode | int) -> None:
    async def behaviour(context: Any) -> pb.EchoResponse:
        context.set_code(code)
        context.set_details("none")
        return pb.EchoResponse(text="dropped")

    answer = await answered(behaviour)
    assert (answer.status, answer.head["grpc-message"], answer.body) == (5, "none", b"")


async def test_the_first_abort_counts_and_has_the_details_that_were_set() -> None:
    async def behaviour(context: Any) -> None:
        context.set_details("none")
        with pytest.raises(grpc.aio.AbortError):
            await context.abort(grpc.StatusCode.NOT_FOUND)
        await context.abort(grpc.StatusCode.INTERNAL, "later")

    answer = await answered(behaviour)
    assert (answer.status, answer.head["grpc-message"]) == (5, "none")


async def test_a_call_is_not_aborted_with_ok() -> None:
    async def behaviour(context: Any) -> None:
        await context.abort(grpc.StatusCode.OK)

    with capture_logs():
        assert (await answered(behaviour)).status == 13


async def test_a_call_can_be_aborted_with_a_status_object() -> None:
    async def behaviour(context: Any) -> None:
        made: Any = SimpleNamespace(code=grpc.StatusCode.ABORTED, details="lost", trailing_metadata=(("x-a", "1"),))
        await context.abort_with_status(made)

    answer = await answered(behaviour)
    assert (answer.status, answer.head["grpc-message"], answer.head["x-a"]) == (10, "lost", "1")


async def test_an_abort_error_of_another_call_is_unknown() -> None:
    async def behaviour(_: Any) -> None:
        raise grpc.aio.AbortError("of another call")

    assert (await answered(behaviour)).status == 2


async def test_trailing_metadata_that_cannot_be_sent_does_not_hide_that_a_call_failed() -> None:
    async def behaviour(context: Any) -> None:
        await context.abort(grpc.StatusCode.NOT_FOUND, "none", (("X-A", "1"),))

    with capture_logs() as logged:
        answer = await answered(behaviour)
    assert (answer.status, answer.reason) == (13, "INTERNAL")
    assert [entry["event"] for entry in logged] == ["unexpected error"]


async def test_done_callbacks_run_at_the_end() -> None:
    heard: list[Any] = []

    async def behaviour(context: Any) -> pb.EchoResponse:
        context.add_done_callback(heard.append)
        assert not context.done()
        return pb.EchoResponse()

    assert (await answered(behaviour)).status == 0
    assert [context.done() for context in heard] == [True]


async def test_a_query_is_not_part_of_the_path(client: Client) -> None:
    assert (await client.ask(request(framed(message()), path=f"{ECHO}?a=b"))).status == 0


@pytest.mark.parametrize(
    ("path", "verb"),
    [
        ("/soma.testing.v1.EchoService/Shout", "POST"),
        ("/soma.testing.v1.EchoService/StreamEcho", "POST"),
        ("/", "POST"),
        ("/soma.testing.v1.EchoService/Echo", "GET"),
    ],
)
async def test_an_unknown_method_is_unimplemented(client: Client, path: str, verb: str) -> None:
    answer = await client.ask(request(framed(message()), path=path, verb=verb))
    assert (answer.status, answer.reason) == (12, "UNKNOWN_METHOD")


async def test_a_connection_that_closes_cancels_its_call(served: Served) -> None:
    async with connected(served.port) as client:
        client.writer.write(SLOW)
        await served.running(1)
    await served.running(0)
    assert (served.tally.cancelled, served.tally.context_cancelled, served.drain.active) == (1, 1, 0)


async def test_headers_over_the_limit_are_refused_and_a_header_without_an_end_closes(
    served: Served, client: Client
) -> None:
    answer = await client.ask(request(framed(message()), *((f"x-{n}", "x" * 1000) for n in range(40))))
    assert (answer.status, answer.reason) == (8, "HEADERS_TOO_LARGE")
    assert (await client.ask(HELLO)).response.text == "hello"
    client.writer.write(b"POST / HTTP/1.1\r\nx-endless: " + b"x" * 10_000_000)
    assert await client.closed()


@pytest.mark.parametrize("line", [b"x-a: b\r\n", b"x"])
async def test_a_trailer_without_an_end_closes(client: Client, line: bytes) -> None:
    head = request(b"").replace(b"content-length: 0", b"transfer-encoding: chunked")
    client.writer.write(head + b"1\r\nx\r\n0\r\n")
    await client.writer.drain()
    client.writer.write((b"x-endless: " if line == b"x" else b"") + line * 1_000_000)
    assert await client.closed()


async def test_a_client_that_does_not_read_its_answer_is_not_read_from(served: Served, client: Client) -> None:
    large = request(framed(message(padding_bytes=30_000_000)))
    client.writer.write(large)
    await until(lambda: served.tally.served == 1 and served.tally.running == 0)
    client.writer.write(large)
    # Long enough for the second request to be read, if the server read it.
    await asyncio.sleep(0.1)
    assert served.tally.served == 1
    assert [len((await client.answer()).response.padding) for _ in range(2)] == [30_000_000] * 2


@pytest.mark.parametrize(
    "sent",
    [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"POST / HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nconnection: upgrade\r\nupgrade: websocket\r\ncontent-length: 0\r\n\r\n",
        HELLO.replace(b"te: trailers", b"transfer-encoding: chunked"),
        SLOW + SLOW,
    ],
)
async def test_an_invalid_or_early_request_closes_the_connection(served: Served, client: Client, sent: bytes) -> None:
    client.writer.write(sent)
    assert await client.closed()
    await served.running(0)


async def test_a_client_that_asks_to_close_gets_one_answer(client: Client) -> None:
    answer = await client.ask(request(framed(message()), ("connection", "close")))
    assert (answer.status, answer.head["connection"]) == (0, "close")
    assert await client.closed()


async def test_a_server_that_stops_finishes_its_answers_and_closes_idle_connections(served: Served) -> None:
    async with connected(served.port) as idle, connected(served.port) as busy:
        assert (await idle.ask(HELLO)).status == 0
        busy.writer.write(request(framed(message("last words", delay_seconds=0.2))))
        await served.running(1)
        began = asyncio.get_running_loop().time()
        stopping = asyncio.create_task(served.server.stop())
        assert await idle.closed()
        answer = await busy.answer()
        assert (answer.response.text, answer.head["connection"]) == ("last words", "close")
        assert await busy.closed()
        await stopping
        # It was not cut off at the end of its time.
        assert asyncio.get_running_loop().time() - began < 0.9
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", served.port)


async def test_a_call_that_a_stopping_process_ends_gets_the_reason(served: Served, client: Client) -> None:
    client.writer.write(SLOW)
    await served.running(1)
    assert await served.drain.finish(0.0) == 1
    await served.server.stop()
    answer = await client.answer()
    assert (answer.status, answer.reason, answer.head["retry-after"]) == (14, "DRAINING", "1")
    assert await client.closed()


async def test_a_call_that_does_not_end_in_time_is_cut_off(served: Served, client: Client) -> None:
    client.writer.write(SLOW)
    await served.running(1)
    await served.server.stop()
    assert await client.closed()
    await served.running(0)


async def test_a_taken_address_is_a_typed_error(served: Served) -> None:
    with pytest.raises(errors.Unavailable, match="cannot listen") as taken:
        await UnaryServer({}, max_message_bytes=1).start("127.0.0.1", served.port)
    assert taken.value.reason == "ADDRESS_IN_USE"
