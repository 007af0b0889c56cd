"""Uploads nobody ends, more than the gateway has memory for: it refuses in words, stays within its limit, recovers."""

import asyncio

from services.mesh.testing.waiting import until
from tests.e2e.hostile.footprint import Footprint, peak_mib, serves
from tests.e2e.hostile.limits import GRACE_SECONDS, MEMORY_MIB, REQUEST_SECONDS
from tests.e2e.hostile.wire import Answer, post, read_answer
from tests.e2e.stack import Stack

# Each announces as much as a request may have, and keeps its last byte to itself.
SIZE = 4_000_000
CLIENTS = 2 * MEMORY_MIB * 2**20 // SIZE


async def upload(stack: Stack) -> Answer:
    """One of them; what it is told in the end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", stack.port)
    try:
        writer.write(post(stack, "/v1/remember", SIZE) + b" " * (SIZE - 1))
        return await read_answer(reader)
    finally:
        writer.transport.abort()


async def health(stack: Stack) -> Answer:
    """Whether a small request is answered."""
    reader, writer = await asyncio.open_connection("127.0.0.1", stack.port)
    try:
        writer.write(b"GET /v1/models HTTP/1.1\r\nhost: mesh\r\n\r\n")
        return await read_answer(reader)
    finally:
        writer.transport.abort()


async def siege(stack: Stack) -> None:
    """All of them at once, until they are told off and the gateway is at ease again."""
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


async def test_a_gateway_without_memory_left_says_so_and_recovers(besieged: Stack) -> None:
    await serves(besieged)
    before = await Footprint.of(besieged)
    for _ in range(2):
        await siege(besieged)
    # A heap keeps what it has had once. Had the second time come on top of the first, it would be more than this.
    assert peak_mib(besieged, "envoy") < 3 * MEMORY_MIB
    await before.restored(besieged, kept_mib=3 * MEMORY_MIB)
