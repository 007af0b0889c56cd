"""Consumers: every event takes effect exactly once, in order."""

from typing import TYPE_CHECKING

import asyncpg
import pytest
from soma.events.v1.event_pb2 import Event

from services.mesh.call import errors
from services.mesh.events.consumer import Consumer, Handler, consuming
from services.mesh.testing.jobs import running
from services.mesh.testing.waiting import until
from tests.mesh.events.conftest import SOLD, STREAM, Shop, caught_up, metric, noting, number_of, sold, stepped

if TYPE_CHECKING:
    from services.mesh.stores.postgres import Connection


class Failing:
    """A handler that writes first, and then fails a given number of times."""

    def __init__(self, *errors: Exception) -> None:
        self._errors = list(errors)
        self.calls = 0

    async def __call__(self, connection: "Connection", event: Event) -> None:
        """Handle an event."""
        self.calls += 1
        await noting("stock")(connection, event)
        if self._errors:
            raise self._errors.pop(0)


async def failed(shop: Shop, handler: Handler, times: int) -> None:
    """Run the consumer; its handler fails this number of times."""
    job = shop.following(handler=handler)
    for _ in range(times):
        with pytest.raises((errors.MeshError, KeyError, OSError)):
            while True:
                await job.step()


async def test_events_sent_before_and_after_the_first_start_are_handled_in_order(shop: Shop) -> None:
    await shop.sell(*range(300))
    await shop.relayed()
    async with running(*shop.relay.jobs, *shop.jobs(), pool=shop.pool.system):
        await until(lambda: shop.has_effects(300))
        await shop.sell(*range(300, 320))
        await until(lambda: shop.has_effects(320))
    assert await shop.effects() == list(range(320))


async def test_each_service_has_its_own_position_and_skips_events_that_it_does_not_handle(shop: Shop) -> None:
    await shop.sell(1)
    await shop.relayed()
    await shop.redis.xadd(STREAM, {"event": sold(2, "shop.item.returned").SerializeToString()})
    await caught_up(shop.following("stock"))
    await shop.sell(3)
    await shop.relayed()
    await caught_up(shop.following("stock"))
    await caught_up(shop.following("accounts"))
    assert await shop.effects("stock") == [1, 3]
    assert await shop.effects("accounts") == [1, 3]
    assert not await shop.letters()


async def test_a_handler_that_fails_and_then_succeeds_has_its_effect_once_and_in_order(shop: Shop) -> None:
    retried = metric("soma_events_retried_total", consumer="stock", type=SOLD)
    handler = Failing(KeyError("a"), KeyError("b"))
    await shop.sell(1, 2)
    await shop.relayed()
    async with running(*shop.jobs(handler=handler), pool=shop.pool.system):
        await until(lambda: shop.has_effects(2))
    assert await shop.effects() == [1, 2]
    assert handler.calls == 4
    assert metric("soma_events_retried_total", consumer="stock", type=SOLD) == retried + 2


async def test_an_event_that_fails_five_times_is_a_dead_letter_and_later_events_are_handled(shop: Shop) -> None:
    dead = metric("soma_events_dead_letters_total", consumer="stock", type=SOLD)
    await shop.sell(1, 2)
    await shop.relayed()
    handler = Failing(*[KeyError("a secret")] * 5)
    async with running(*shop.jobs(handler=handler), pool=shop.pool.system):
        await until(lambda: shop.has_effects(1))
    assert await shop.effects() == [2]
    (letter,) = await shop.letters()
    assert (letter["tenant_id"], letter["consumer"], letter["type"], letter["attempts"]) == ("acme", "stock", SOLD, 5)
    assert (letter["reason"], letter["state"]) == ("INTERNAL", "dead")
    assert letter["error"] == "the handler failed with KeyError; the log of stock says more"
    assert Event.FromString(letter["event"]) == sold(1)
    assert metric("soma_events_dead_letters_total", consumer="stock", type=SOLD) == dead + 1


async def test_failures_are_counted_across_restarts_and_the_reason_of_a_typed_error_is_stored(shop: Shop) -> None:
    await shop.sell(1)
    await shop.relayed()
    wrong = errors.FailedPrecondition("there is no room")
    for _ in range(4):
        await failed(shop, Failing(wrong), 1)
    assert not await shop.letters()
    await caught_up(shop.following(handler=Failing(wrong)))
    (letter,) = await shop.letters()
    assert (letter["reason"], letter["error"]) == ("FAILED_PRECONDITION", "there is no room")
    assert not await shop.effects()


@pytest.mark.parametrize("away", [errors.Unavailable("memory is away"), errors.DeadlineExceeded("too late")])
async def test_an_event_that_fails_because_a_dependency_is_unavailable_is_retried_without_a_limit(
    shop: Shop, away: errors.MeshError
) -> None:
    await shop.sell(1)
    await shop.relayed()
    handler = Failing(*[away] * 12)
    await failed(shop, handler, 12)
    await caught_up(shop.following(handler=handler))
    assert await shop.effects() == [1]
    assert not await shop.letters()


async def test_a_missing_file_in_a_handler_is_not_taken_for_an_unavailable_postgres(shop: Shop) -> None:
    await shop.sell(1)
    await shop.relayed()
    handler = Failing(*[FileNotFoundError("/nowhere")] * 5)
    await failed(shop, handler, 4)
    await caught_up(shop.following(handler=handler))
    assert len(await shop.letters()) == 1


async def test_a_handler_that_hangs_fails_when_its_time_is_over(shop: Shop) -> None:
    async def hanging(connection: "Connection", _: Event) -> None:
        await connection.execute("SELECT pg_sleep(60)")

    await shop.sell(1)
    await shop.relayed()
    job = shop.following(handler=hanging, seconds=0.05)
    with pytest.raises(TimeoutError):
        await stepped(job, 3)
    assert await shop.pool.fetchval("SELECT attempts FROM mesh.consumed") == 1


async def test_a_handler_that_swallows_an_error_of_postgres_loses_no_event(shop: Shop) -> None:
    broken = True

    async def handler(connection: "Connection", event: Event) -> None:
        await noting("stock")(connection, event)
        if broken:
            with pytest.raises(asyncpg.UndefinedTableError):
                await connection.execute("SELECT * FROM nowhere")

    await shop.sell(1)
    await shop.relayed()
    job = shop.following(handler=handler)
    with pytest.raises(asyncpg.InFailedSQLTransactionError):
        await stepped(job, 3)
    broken = False
    await caught_up(job)
    assert await shop.effects() == [1]


async def test_an_invalid_entry_is_a_dead_letter_of_its_tenant(shop: Shop) -> None:
    await shop.pool.execute("INSERT INTO shop.outbox (tenant_id, aggregate, event) VALUES ('acme', '', '\\xff')")
    await shop.redis.xadd(STREAM, {"nothing": "known"})
    await shop.sell(1)
    await shop.relayed()
    await caught_up(shop.following())
    letters = await shop.letters()
    assert [(each["tenant_id"], each["reason"], each["event"]) for each in letters] == [
        ("", "EVENT_UNREADABLE", b""),
        ("acme", "EVENT_UNREADABLE", b"\xff"),
    ]
    assert await shop.effects() == [1]


async def test_two_consumers_of_one_type_in_one_service_are_refused(shop: Shop) -> None:
    consumer = Consumer(SOLD, noting("stock"))
    with pytest.raises(ValueError, match="stock has two consumers of"):
        consuming("stock", [consumer, consumer], shop.pool, shop.redis)
    with pytest.raises(ValueError, match="'sold' is no type of an event"):
        consuming("stock", [Consumer("sold", noting("stock"))], shop.pool, shop.redis)


async def test_the_record_of_a_handled_event_is_deleted_once_the_event_cannot_come_again(shop: Shop) -> None:
    follow, prune = shop.jobs()
    await follow.step()
    await shop.sell(1, 2)
    await shop.relayed()
    await caught_up(follow)
    await shop.pool.execute("UPDATE mesh.consumed SET handle_time = now() - interval '8 days'")
    await prune.step()
    assert await shop.pool.fetchval("SELECT count(*) FROM mesh.consumed") == 2
    await shop.trimmed()
    await prune.step()
    assert await shop.pool.fetchval("SELECT count(*) FROM mesh.consumed") == 0


async def test_the_record_of_a_handled_event_is_kept_while_entries_are_pending(shop: Shop) -> None:
    async def second_fails(connection: "Connection", event: Event) -> None:
        if number_of(event) == 2:
            raise errors.Unavailable("away")

    follow, prune = shop.jobs(handler=second_fails)
    await follow.step()
    await shop.sell(1, 2)
    await shop.relayed()
    with pytest.raises(errors.Unavailable):
        await stepped(follow, 3)
    await shop.pool.execute("DELETE FROM shop.outbox")
    await shop.pool.execute("UPDATE mesh.consumed SET handle_time = now() - interval '8 days'")
    await prune.step()
    assert await shop.pool.fetchval("SELECT count(*) FROM mesh.consumed") == 1
