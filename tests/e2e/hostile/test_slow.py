"""Slow clients: their requests end with a typed 408, and do not block others until then."""

import asyncio
from asyncio import get_running_loop
from contextlib import AsyncExitStack

from gateway.xds.failures import FAILURES
from tests.e2e.hostile.footprint import serves
from tests.e2e.hostile.limits import GRACE_SECONDS, HEADERS_SECONDS, IDLE_SECONDS, REQUEST_SECONDS
from tests.e2e.hostile.wire import Answer, Http2, post, read_answer
from tests.e2e.scripted import MOST_REQUESTS
from tests.e2e.stack import Stack

RECALL = "/soma.memory.v1.MemoryService/Recall"
CHAT = "/soma.orchestrator.v1.ChatService/Chat"
GRPC_WEB = ("content-type", "application/grpc-web+proto")
# More than a service accepts at the same time, so unfinished requests must not count for this limit.
CLIENTS = MOST_REQUESTS + 20
PAUSE_SECONDS = 0.3


async def trickle(stack: Stack, head: bytes, piece: bytes) -> Answer:
    """Send the head, and then pieces, until there is an answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", stack.port)
    answer = asyncio.create_task(read_answer(reader))
    try:
        writer.write(head)
        while not answer.done():
            writer.write(piece)
            await asyncio.wait({answer}, timeout=PAUSE_SECONDS)
        return await answer
    finally:
        answer.cancel()
        writer.transport.abort()


async def trickle_calls(stack: Stack, path: str) -> list[Answer]:
    """Slow gRPC calls on one connection; each sends only the beginning of a message."""
    async with Http2.open(stack) as connection:
        headers = (("content-type", "application/grpc"), ("te", "trailers"))
        streams = [connection.request("POST", path, *headers, end=False) for _ in range(CLIENTS)]
        ended = asyncio.create_task(connection.ended(*streams))
        while not ended.done():
            for stream in streams:
                if not connection.answers[stream].ended and connection.answers[stream].reset is None:
                    connection.h2.send_data(stream, b"\0")
            connection.flush()
            await asyncio.wait({ended}, timeout=PAUSE_SECONDS)
        return await ended


async def test_hundreds_of_requests_that_trickle_in_are_timed_out_while_others_are_served(checked: Stack) -> None:
    stack = checked
    heads = {
        "rest": (post(stack, "/v1/remember", 1000), b"{"),
        "openai": (post(stack, "/v1/chat/completions", 1000), b"{"),
    }
    began = get_running_loop().time()
    async with asyncio.TaskGroup() as group:
        slow = {
            surface: [group.create_task(trickle(stack, head, piece)) for _ in range(CLIENTS)]
            for surface, (head, piece) in heads.items()
        }
        calls = [group.create_task(trickle_calls(stack, path)) for path in (RECALL, CHAT)]
        web = group.create_task(trickle(stack, post(stack, RECALL, 1000, GRPC_WEB), b"\0"))
        await asyncio.sleep(PAUSE_SECONDS)
        served = 0
        while get_running_loop().time() < began + REQUEST_SECONDS - 1:
            await serves(stack)
            served += 1
    seconds = get_running_loop().time() - began
    assert served
    assert REQUEST_SECONDS <= seconds < REQUEST_SECONDS + GRACE_SECONDS
    for answers in slow.values():
        assert {(each.result().status, each.result().reason) for each in answers} == {(408, "REQUEST_TIMEOUT")}
    assert (web.result().status, web.result().headers["grpc-status"]) == (408, "4")
    (timeout,) = [failure for failure in FAILURES if failure.reason == "REQUEST_TIMEOUT"]
    for call in calls:
        assert {answer.headers["grpc-status"] for answer in call.result()} == {"4"}
        assert {answer.headers["grpc-status-details-bin"] for answer in call.result()} == {timeout.details_bin("")}


HEADS = {
    "header after header": ("GET /v1/usage HTTP/1.1\r\nhost: mesh\r\n", "x-a: 1\r\n"),
    "one header": ("GET /v1/models HTTP/1.1\r\nhost: mesh\r\nx-endless: ", "x"),
    "the path": ("GET /v1/", "x"),
}


async def test_headers_that_trickle_in_are_timed_out(limited: Stack) -> None:
    began = get_running_loop().time()
    answers = await asyncio.gather(
        *(trickle(limited, head.encode(), piece.encode()) for head, piece in HEADS.values() for _ in range(20))
    )
    assert HEADERS_SECONDS <= get_running_loop().time() - began < HEADERS_SECONDS + GRACE_SECONDS
    assert {(answer.status, answer.reason) for answer in answers} == {(408, "REQUEST_TIMEOUT")}


async def test_a_connection_without_a_request_is_closed(checked: Stack) -> None:
    async with AsyncExitStack() as closing:
        opened = [await asyncio.open_connection("127.0.0.1", checked.port) for _ in range(20)]
        for _, writer in opened:
            closing.callback(writer.transport.abort)
        opened[0][1].write(b"GET /health HTTP/1.1\r\nhost: mesh\r\n\r\n")
        assert (await read_answer(opened[0][0])).status == 200
        # The beginning of the HTTP/2 preface.
        opened[1][1].write(b"PRI * HTTP/2.0\r\n\r\nS")
        async with asyncio.timeout(IDLE_SECONDS + GRACE_SECONDS):
            said = [await reader.read() for reader, _ in opened]
    assert set(said[:1] + said[2:]) == {b""}
