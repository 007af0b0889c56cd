"""Messages that arrive in pieces, compressed, too large, or not at all."""

import gzip
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st
from soma.testing.v1 import echo_service_pb2 as pb

from services.mesh.transport.unary import message as wire
from tests.mesh.transport.unary.client import Client, framed, message, request
from tests.mesh.transport.unary.conftest import LIMIT

GZIP = ("grpc-encoding", "gzip")
# The header by which the gateway asks for a compressed answer.
ANSWERED_IN_GZIP = ("x-soma-grpc-encoding", "gzip")
INVALID, EXHAUSTED, UNIMPLEMENTED, INTERNAL = 3, 8, 12, 13


async def test_a_request_that_arrives_byte_by_byte_is_answered_once_it_is_complete(client: Client) -> None:
    whole = request(framed(message("piecemeal")))
    answer = await client.ask(*(whole[at : at + 1] for at in range(len(whole))))
    assert (answer.status, answer.response.text) == (0, "piecemeal")


async def test_a_chunked_body_is_read(client: Client) -> None:
    body = framed(message("chunked"))
    head = request(b"").replace(b"content-length: 0", b"transfer-encoding: chunked")
    answer = await client.ask(head, *(b"1\r\n%c\r\n" % byte for byte in body), b"0\r\n\r\n")
    assert answer.response.text == "chunked"


async def test_a_connection_carries_one_call_after_the_other(client: Client) -> None:
    texts = [(await client.ask(request(framed(message(text))))).response.text for text in "abc"]
    assert texts == ["a", "b", "c"]


@pytest.mark.parametrize(
    "compressed",
    [(GZIP, gzip.compress), (("grpc-encoding", "deflate"), zlib.compress)],
    ids=["gzip", "deflate"],
)
async def test_a_compressed_request_is_read(client: Client, compressed: tuple[tuple[str, str], type]) -> None:
    encoding, compress = compressed
    answer = await client.ask(request(framed(compress(message("small" * 1000)), flag=1), encoding))
    assert answer.response.text == "small" * 1000
    assert answer.head["grpc-accept-encoding"] == "identity, deflate, gzip"


async def test_only_a_client_that_wants_gzip_is_answered_in_gzip(client: Client) -> None:
    body = request(framed(message(padding_bytes=10_000)), ANSWERED_IN_GZIP)
    answer = await client.ask(body)
    assert (answer.head["grpc-encoding"], answer.body[0]) == ("gzip", 1)
    assert len(answer.body) < 1000
    assert len(answer.response.padding) == 10_000
    plain = await client.ask(request(framed(message(padding_bytes=10_000))))
    assert ("grpc-encoding" in plain.head, plain.body[0]) == (False, 0)


async def test_a_message_that_gzip_would_make_larger_is_not_compressed(client: Client) -> None:
    answer = await client.ask(request(framed(message("a")), ANSWERED_IN_GZIP))
    assert (answer.body[0], answer.response.text) == (0, "a")


@pytest.mark.parametrize(
    ("body", "fields", "status", "reason"),
    [
        (b"", (), INVALID, "MALFORMED_MESSAGE"),
        (b"\0\0\0", (), INVALID, "MALFORMED_MESSAGE"),
        (framed(message(), length=1), (), INVALID, "MALFORMED_MESSAGE"),
        (framed(message(), length=1000), (), INVALID, "MALFORMED_MESSAGE"),
        (framed(message()) + framed(message()), (), INVALID, "MALFORMED_MESSAGE"),
        (framed(message(), flag=7), (), INVALID, "MALFORMED_MESSAGE"),
        (framed(b"\xff\xff"), (), INVALID, "MALFORMED_MESSAGE"),
        (framed(b"not gzip", flag=1), (GZIP,), INVALID, "MALFORMED_MESSAGE"),
        (framed(gzip.compress(message(), mtime=0)[:-4], flag=1), (GZIP,), INVALID, "MALFORMED_MESSAGE"),
        (framed(gzip.compress(message(), mtime=0) + b"more", flag=1), (GZIP,), INVALID, "MALFORMED_MESSAGE"),
        (framed(message("x" * LIMIT)), (), EXHAUSTED, "PAYLOAD_TOO_LARGE"),
        (framed(message(), length=LIMIT + 1), (), EXHAUSTED, "PAYLOAD_TOO_LARGE"),
        (framed(gzip.compress(bytes(LIMIT + 1), mtime=0), flag=1), (GZIP,), EXHAUSTED, "PAYLOAD_TOO_LARGE"),
        (framed(message(), flag=1), (), INTERNAL, "ENCODING_MISSING"),
        (framed(message(), flag=1), (("grpc-encoding", "identity"),), INTERNAL, "ENCODING_MISSING"),
        (framed(message(), flag=1), (("grpc-encoding", "snappy"),), UNIMPLEMENTED, "ENCODING_UNKNOWN"),
    ],
)
async def test_an_invalid_message_is_refused_with_a_reason_and_the_next_call_is_served(
    client: Client, body: bytes, fields: tuple[tuple[str, str], ...], status: int, reason: str
) -> None:
    answer = await client.ask(request(body, *fields))
    assert (answer.status, answer.reason) == (status, reason)
    assert (await client.ask(request(framed(message("next"))))).response.text == "next"


@contextmanager
def traced() -> Iterator[Callable[[], int]]:
    """Gives the largest number of bytes that Python has held."""
    tracemalloc.start()
    try:
        yield lambda: tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


async def test_a_body_far_over_the_limit_is_not_kept(client: Client) -> None:
    piece = bytes(LIMIT)
    head = request(b"").replace(b"content-length: 0", b"content-length: %d" % (500 * LIMIT))
    with traced() as most:
        answer = await client.ask(head, *([piece] * 500))
        assert most() < 100 * LIMIT
    assert (answer.status, answer.reason) == (EXHAUSTED, "PAYLOAD_TOO_LARGE")


async def test_a_compressed_bomb_is_unpacked_up_to_the_limit(client: Client) -> None:
    bomb = request(framed(gzip.compress(bytes(50_000_000)), flag=1), GZIP)
    with traced() as most:
        answer = await client.ask(bomb)
        assert most() < 10_000_000
    assert (answer.status, answer.reason) == (EXHAUSTED, "PAYLOAD_TOO_LARGE")


@pytest.mark.parametrize("over", [0, 1])
async def test_the_limit_counts_the_message_without_its_prefix(client: Client, over: int) -> None:
    # Four bytes are the number and the length of its only field.
    answer = await client.ask(request(framed(pb.EchoRequest(text="x" * (LIMIT - 4 + over)).SerializeToString())))
    assert answer.status == (EXHAUSTED if over else 0)


@given(content=st.binary(max_size=2000), times=st.integers(1, 100), compress=st.booleans())
async def test_a_framed_message_is_read_again(content: bytes, times: int, *, compress: bool) -> None:
    message = content * times
    sent = await wire.framed(message, compress=compress)
    assert await wire.content_of(sent, b"gzip", len(message)) == message
