"""The ledger: records are durable or wait, nothing begins while records wait, and a lost record is logged."""

import pytest
from soma.model.v1.cost_service_pb2 import UsageRecord
from structlog.testing import capture_logs

from services.mesh.call.errors import Unavailable
from services.mesh.testing.waiting import until
from services.model.ledger import Ledger

RECORD = UsageRecord(generation_id="g1", tenant_id="acme")


class Store:
    """Fails a given number of times."""

    def __init__(self, failures: int, failure: Exception | None = None) -> None:
        self.failures = failures
        self.failure = failure or Unavailable("Postgres is away")
        self.written: list[UsageRecord] = []

    async def commit(self, record: UsageRecord) -> None:
        if self.failures:
            self.failures -= 1
            raise self.failure
        self.written.append(record)


async def test_a_record_is_durable_when_record_returns() -> None:
    store = Store(0)
    await Ledger(store.commit).record(RECORD)
    assert store.written == [RECORD]


async def test_a_record_that_cannot_be_written_now_is_written_later() -> None:
    store = Store(3)
    ledger = Ledger(store.commit, delays=(0.0, 0.0, 0.0, 0.0))
    await ledger.record(RECORD)
    assert store.written == []
    await ledger.drain()
    assert store.written == [RECORD]


async def test_a_record_waits_for_as_long_as_the_store_is_full() -> None:
    store = Store(50)
    ledger = Ledger(store.commit, delays=(0.0, 0.0))
    await ledger.record(RECORD)
    await ledger.drain()
    assert store.written == [RECORD]


async def test_a_record_the_store_cannot_take_is_an_error() -> None:
    store = Store(1, LookupError("no such table"))
    ledger = Ledger(store.commit, delays=(0.0,))
    with pytest.raises(LookupError):
        await ledger.record(RECORD)
    await ledger.admit()
    await ledger.drain()
    assert store.written == [RECORD]


async def test_nothing_begins_while_records_wait_and_all_are_written_after_the_first() -> None:
    store = Store(4)
    ledger = Ledger(store.commit, delays=(0.0, 3600.0))
    other = UsageRecord(generation_id="g2", tenant_id="acme")
    await ledger.admit()
    await ledger.record(RECORD)
    await ledger.record(other)

    async def tried() -> bool:
        return store.failures == 0

    await until(tried)
    store.failures = 1
    with pytest.raises(Unavailable):
        await ledger.admit()
    await ledger.admit()
    await ledger.drain()
    assert {record.generation_id for record in store.written} == {"g1", "g2"}


async def test_drain_waits_for_background_writes() -> None:
    store = Store(2)
    ledger = Ledger(store.commit, delays=(0.0, 0.0, 0.0))
    ledger.record_soon(RECORD)
    assert store.written == []
    await ledger.drain()
    assert store.written == [RECORD]


@pytest.mark.parametrize("failure", [Unavailable("the disk is full"), LookupError("no such table")])
async def test_a_record_that_is_given_up_is_logged_completely(failure: Exception) -> None:
    ledger = Ledger(Store(9, failure).commit, delays=(0.0, 3600.0), last_seconds=0.05)
    with capture_logs() as logs:
        ledger.record_soon(RECORD)
        await ledger.drain()
    (entry,) = logs
    assert (entry["event"], entry["generation_id"], entry["tenant_id"]) == ("usage_not_stored", "g1", "acme")
