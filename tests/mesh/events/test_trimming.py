"""A stream is trimmed, and its outbox emptied, only behind the slowest consumer."""

from typing import TYPE_CHECKING

import pytest
from soma.events.v1.event_pb2 import Event

from services.mesh.call import errors
from services.mesh.events import groups, stream
from tests.mesh.events.conftest import STREAM, Shop, caught_up, metric, number_of, stepped

if TYPE_CHECKING:
    from services.mesh.stores.postgres import Connection


def lag(group: str) -> float:
    """The last measured value of the metric."""
    return metric("soma_events_lag", stream=STREAM, group=group)


async def test_entries_that_the_slowest_consumer_has_not_handled_are_not_trimmed(shop: Shop) -> None:
    fast, slow = shop.following("fast"), shop.following("slow")
    await caught_up(fast)
    await caught_up(slow)
    await shop.sell(*range(7))
    await shop.relayed()
    await caught_up(fast)
    await shop.trimmed()
    assert (await shop.length(), await shop.kept()) == (7, 7)
    assert (lag("fast"), lag("slow")) == (0, 7)
    await caught_up(slow)
    await shop.trimmed()
    assert (await shop.length(), await shop.kept()) == (0, 0)
    assert (lag("fast"), lag("slow")) == (0, 0)
    await shop.sell(7)
    await shop.relayed()
    await caught_up(slow)
    assert await shop.effects("slow") == list(range(8))


async def test_entries_that_were_read_and_not_handled_are_not_trimmed(shop: Shop) -> None:
    async def third_waits(connection: "Connection", event: Event) -> None:
        if number_of(event) == 3:
            raise errors.Unavailable("away")

    follow = shop.following(handler=third_waits)
    await caught_up(follow)
    await shop.sell(1, 2, 3, 4)
    await shop.relayed()
    with pytest.raises(errors.Unavailable):
        await stepped(follow, 3)
    await shop.trimmed()
    assert (await shop.length(), await shop.kept(), lag("stock")) == (2, 2, 2)


async def test_a_consumer_that_is_stopped_for_long_misses_nothing(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "MAX_LENGTH", 10)
    await caught_up(shop.following())
    await shop.sell(*range(1000))
    await shop.relayed()
    await shop.trimmed()
    assert await shop.length() == 1000
    await caught_up(shop.following())
    assert await shop.effects() == list(range(1000))


async def test_a_stream_without_consumers_has_a_maximum_length_and_no_rows_in_postgres(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "MAX_LENGTH", 10)
    await shop.sell(*range(1000))
    await shop.relayed()
    # Redis deletes whole nodes of a hundred entries.
    assert await shop.length() <= 110
    assert await shop.kept() == 0


async def test_a_group_of_another_program_delays_trimming_too(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "MAX_LENGTH", 10)
    await shop.redis.xgroup_create(STREAM, "report", id="0", mkstream=True)
    await shop.sell(*range(1000))
    await shop.relayed()
    await shop.trimmed()
    assert (await shop.length(), await shop.kept(), lag("report")) == (1000, 1000, 1000)


async def test_a_service_that_no_longer_consumes_an_area_does_not_delay_trimming(shop: Shop) -> None:
    await caught_up(shop.following("former"))
    await shop.sell(1, 2)
    await shop.relayed()
    await caught_up(shop.following("stock"))
    await shop.trimmed()
    assert await shop.kept() == 2
    await groups.retire(shop.pool.system, "former", ["elsewhere"])
    await shop.trimmed()
    assert (await shop.length(), await shop.kept()) == (0, 0)
    assert [group.name for group in await shop.relay._stream.groups()] == ["stock"]
    assert await shop.pool.fetchval("SELECT count(*) FROM mesh.event_group WHERE consumer = 'former'") == 0


async def test_the_lag_includes_events_in_the_outbox_and_those_that_a_lost_group_must_read_again(shop: Shop) -> None:
    await caught_up(shop.following())
    await shop.sell(1, 2)
    await shop.relayed()
    await shop.sell(3)
    await shop.trimmed()
    assert lag("stock") == 3
    await shop.redis.xgroup_destroy(STREAM, "stock")
    await shop.trimmed()
    assert lag("stock") == 3
    assert await shop.kept() == 3
