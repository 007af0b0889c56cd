"""Unfinished uploads that need more memory than the gateway has: it refuses, stays within its limit, and recovers."""

import asyncio

from services.mesh.testing.waiting import until
from tests.e2e.hostile.footprint import Footprint, peak_mib, serves
from tests.e2e.hostile.limits import GRACE_SECONDS, MEMORY_MIB, REQUEST_SECONDS
from tests.e2e.hostile.wire import Answer, post, read_answer
from tests.e2e.stack import Stack

# Each upload announces the largest allowed size, and never sends its last byte.
SIZE = 4_000_000
CLIENTS = 2 * MEMORY_MIB * 2**20 // SIZE


async def upload(stack: Stack) -> Answer:
    """An upload that does not end; returns the answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", stack.port)
    try:
        writer.write(post(stack, "/v1/remember", SIZE) + b" " * (SIZE - 1))
        return await read_answer(reader)
    finally:
        writer.transport.abort()


async def health(stack: Stack) -> Answer:
    """The answer to a small request."""
    reader, writer = await asyncio.open_connection("127.0.0.1", stack.port)
    try:
        writer.write(b"GET /v1/models HTTP/1.1\r\nhost: mesh\r\n\r\n")
        return await read_answer(reader)
    finally:
        writer.transport.abort()


async def exhaust_memory(stack: Stack) -> None:
    """All uploads at the same time, until they are refused and the gateway has recovered."""
    answers: list[Answer] = []

    async def refused() -> bool:
        answers.append(await health(stack))
        return answers[-1].status == 503

    async def recovered() -> bool:
        return (await health(stack)).status == 401

    async with asyncio.TaskGroup() as group:
        uploads = [group.create_task(upload(stack)) for _ in range(CLIENTS)]
        await until(refused, seconds=REQUEST_SECONDS + GRACE_SECONDS)
    assert answers[-1].reason == "GATEWAY_OVERLOADED"
    assert answers[-1].headers["retry-after"] == "1"
    told = {(each.result().status, each.result().reason) for each in uploads}
    assert told <= {(408, "REQUEST_TIMEOUT"), (503, "GATEWAY_OVERLOADED")}
    await until(recovered, seconds=GRACE_SECONDS)
    await serves(stack)


async def test_a_gateway_out_of_memory_refuses_with_the_reason_and_recovers(limited: Stack) -> None:
    await serves(limited)
    before = await Footprint.of(limited)
    await exhaust_memory(limited)
    # How far the first peak passes the limit depends on how much arrives between two looks of Envoy at its heap.
    first = peak_mib(limited, "envoy")
    assert first < 4 * MEMORY_MIB
    await exhaust_memory(limited)
    # The heap keeps memory after the first time: what the second time needed more was kept by mistake.
    assert peak_mib(limited, "envoy") < first + MEMORY_MIB / 2
    await before.restored(limited, kept_mib=3 * MEMORY_MIB)
