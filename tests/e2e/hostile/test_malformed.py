"""Invalid JSON and messages, and compressed bombs: the error on each surface, and the cost in memory."""

import asyncio
import json
import zlib
from typing import Any

import grpc
import httpx
import pytest
from google.protobuf.struct_pb2 import Value
from soma.memory.v1.memory_service_pb2 import RememberRequest

from tests.e2e.hostile.footprint import peak_mib, serves
from tests.e2e.hostile.wire import Http2, framed
from tests.e2e.scripted import MODEL
from tests.e2e.stack import CALL_SECONDS, Stack

REMEMBER = "/soma.memory.v1.MemoryService/Remember"
BOMB_MIB = 1024
# The memory that a refused request may cost.
COST_MIB = 64
MESSAGES = '"messages": [{"role": "user", "content": "hi"}]'

OPENAI_BODIES = {
    "depth bomb": '{"model": ' + "[" * 100_000,
    "deep metadata": f'{{"model": "{MODEL}", {MESSAGES}, "metadata": ' + '{"a":' * 5000 + "1" + "}" * 5001,
    "invalid UTF-8": b'{"model": "\xff"}',
    "lone surrogate": f'{{"model": "{MODEL}", "messages": [{{"role": "user", "content": "\\ud800"}}]}}',
    "NaN": f'{{"model": "{MODEL}", {MESSAGES}, "temperature": NaN}}',
    "Infinity": f'{{"model": "{MODEL}", {MESSAGES}, "temperature": Infinity}}',
    "beyond a double": f'{{"model": "{MODEL}", {MESSAGES}, "temperature": 1e999}}',
    "beyond 32 bits": f'{{"model": "{MODEL}", {MESSAGES}, "max_tokens": 2147483648}}',
    "beyond 64 bits": f'{{"model": "{MODEL}", {MESSAGES}, "max_tokens": 99999999999999999999}}',
    "negative": f'{{"model": "{MODEL}", {MESSAGES}, "n": -1}}',
    "cut off": f'{{"model": "{MODEL}", "messa',
    "no object": "[]",
    "nothing": "",
    "a million messages": f'{{"model": "{MODEL}", "messages": [{"{}," * 1_000_000}{{}}]}}',
}


def varint(number: int) -> bytes:
    """A number as protobuf encodes it."""
    written = b""
    while number > 127:
        written, number = written + bytes([number & 127 | 128]), number >> 7
    return written + bytes([number])


def gzipped(beginning: bytes, filling: bytes, mib: int) -> bytes:
    """A message of `mib` MiB, compressed to a thousandth."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    piece = filling * (2**20 // len(filling))
    pieces = [packer.compress(beginning), *(packer.compress(piece) for _ in range(mib)), packer.flush()]
    return b"".join(pieces)


@pytest.mark.parametrize("body", OPENAI_BODIES.values(), ids=OPENAI_BODIES.keys())
async def test_a_bad_body_is_an_invalid_request_in_openais_shape(http: httpx.AsyncClient, body: str | bytes) -> None:
    reply = await http.post("/v1/chat/completions", content=body)
    error = reply.json()["error"]
    assert (reply.status_code, set(error)) == (400, {"message", "type", "param", "code"}), reply.text
    assert error["type"] == "invalid_request_error"
    assert error["message"]


async def test_openais_surface_uses_the_last_value_of_a_repeated_key(http: httpx.AsyncClient) -> None:
    body = f'{{"model": "no-such-model", {MESSAGES}, "model": "{MODEL}"}}'
    reply = await http.post("/v1/chat/completions", content=body)
    assert (reply.status_code, reply.json()["model"]) == (200, MODEL)


@pytest.mark.parametrize("path", ["/v1/remember", "/v1/chat/completions", "/v1/responses", "/v1/embeddings"])
@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br"])
async def test_a_compressed_body_is_not_unpacked(http: httpx.AsyncClient, path: str, encoding: str) -> None:
    bomb = gzipped(b"", b" ", 64)
    reply = await http.post(path, content=bomb, headers={"content-encoding": encoding})
    error: dict[str, Any] = reply.json()["error"]
    reason = error["details"][0]["reason"] if "details" in error else error["code"].upper()
    assert (reply.status_code, reason) == (415, "UNSUPPORTED_ENCODING")


async def test_a_compressed_bomb_in_a_call_is_refused_while_it_is_unpacked(checked: Stack) -> None:
    bomb = gzipped(b"\x0a" + varint(BOMB_MIB * 2**20), b"a", BOMB_MIB)
    before = peak_mib(checked, "serve"), peak_mib(checked, "envoy")
    async with Http2.open(checked) as connection, asyncio.timeout(CALL_SECONDS):
        headers = (("content-type", "application/grpc"), ("te", "trailers"), ("grpc-encoding", "gzip"))
        streams = [connection.request("POST", REMEMBER, *headers, end=False) for _ in range(4)]
        for stream in streams:
            await connection.upload(stream, framed(bomb, compressed=True))
        answers = await connection.ended(*streams)
    assert {answer.headers["grpc-status"] for answer in answers} == {"8"}
    assert peak_mib(checked, "serve") - before[0] < COST_MIB
    assert peak_mib(checked, "envoy") - before[1] < COST_MIB


async def test_a_message_nested_too_deep_is_invalid(limited: Stack, channel: grpc.aio.Channel) -> None:
    innermost = RememberRequest(key="deep", value=Value(string_value="x"))
    message = innermost.value.SerializeToString()
    while len(message) < 100_000:
        for tag in (b"\x0a", b"\x32"):
            message = tag + varint(len(message)) + message
    remember: Any = channel.unary_unary(REMEMBER, request_serializer=bytes)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await remember(b"\x12" + varint(len(message)) + message, metadata=limited.metadata, timeout=CALL_SECONDS)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    await serves(limited)


@pytest.mark.parametrize("deep", ["[", '{"a":'])
async def test_a_deeply_nested_body_of_the_largest_size_costs_little_memory(
    checked: Stack, http: httpx.AsyncClient, deep: str
) -> None:
    bomb = deep * (4_000_000 // len(deep))
    before = peak_mib(checked, "serve"), peak_mib(checked, "envoy")
    for path in ("/v1/remember", "/v1/chat", "/v1/chat/completions", "/v1/responses"):
        reply = await http.post(path, content=f'{{"metadata": {bomb}')
        assert reply.status_code == 400
        assert json.loads(reply.content)["error"]["message"]
    assert peak_mib(checked, "serve") - before[0] < COST_MIB
    assert peak_mib(checked, "envoy") - before[1] < COST_MIB
