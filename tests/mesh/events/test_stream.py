"""Rows that are added to the stream of an area."""

from typing import Any

import pytest
import redis.asyncio as aioredis

from services.mesh.events.stream import STREAM, EventStream, Row
from services.mesh.stores.stream_position import BEGINNING, position

ROWS = (Row(1, "acme", b"one", ""), Row(2, "globex", b"two", "orders"), Row(3, "acme", b"three", ""))
FIELDS = [
    {b"event": b"one", b"tenant": b"acme", b"row": b"1"},
    {b"event": b"two", b"tenant": b"globex", b"row": b"2", b"consumer": b"orders"},
    {b"event": b"three", b"tenant": b"acme", b"row": b"3"},
]


@pytest.mark.parametrize("grouped", [False, True], ids=["no group", "a group"])
@pytest.mark.parametrize("consumed", [False, True], ids=["no known consumer", "a known consumer"])
async def test_rows_are_added_in_order_and_have_positions_if_there_are_consumers(
    redis: aioredis.Redis, consumed: bool, grouped: bool
) -> None:
    stream = EventStream(redis, "shop")
    if grouped:
        await stream.create_group("orders")
    added = await stream.add(BEGINNING, ROWS, consumed=consumed)
    found: Any = await redis.xrange(STREAM + "shop")
    assert [fields for _, fields in found] == FIELDS
    places = [position(id.decode()) for id, _ in found]
    assert added.positions == (places if consumed or grouped else [])
    assert added.groups is grouped
    assert added.lost is None


async def test_nothing_is_added_to_a_stream_that_has_lost_entries(redis: aioredis.Redis) -> None:
    stream = EventStream(redis, "shop")
    newest = (await stream.add(BEGINNING, ROWS, consumed=True)).positions[-1]
    await redis.delete(STREAM + "shop")
    added = await stream.add(newest, ROWS, consumed=True)
    assert added.lost == BEGINNING
    assert await redis.xlen(STREAM + "shop") == 0
