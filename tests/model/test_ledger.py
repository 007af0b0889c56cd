"""The ledger: durable before it is acknowledged, and never lost in silence."""

import pytest
from soma.model.v1.cost_service_pb2 import UsageRecord
from structlog.testing import capture_logs

from services.mesh.errors import Unavailable
from services.model.ledger import Ledger

RECORD = UsageRecord(generation_id="g1", tenant_id="acme")


class Store:
    """Fails as often as it is told to."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.written: list[UsageRecord] = []

    async def commit(self, record: UsageRecord) -> None:
        if self.failures:
            self.failures -= 1
            raise Unavailable("Postgres is away")
        self.written.append(record)


async def test_a_record_is_durable_when_record_returns() -> None:
    store = Store(0)
    await Ledger(store.commit).record(RECORD)
    assert store.written == [RECORD]


async def test_a_record_that_cannot_be_written_now_is_an_error_and_is_written_later() -> None:
    store = Store(3)
    ledger = Ledger(store.commit, delays=(0.0, 0.0, 0.0, 0.0))
    with pytest.raises(Unavailable):
        await ledger.record(RECORD)
    await ledger.drain()
    assert store.written == [RECORD]


async def test_drain_waits_for_what_nobody_waits_for() -> None:
    store = Store(2)
    ledger = Ledger(store.commit, delays=(0.0, 0.0, 0.0))
    ledger.record_soon(RECORD)
    assert store.written == []
    await ledger.drain()
    assert store.written == [RECORD]


async def test_a_record_given_up_on_is_logged_whole() -> None:
    ledger = Ledger(Store(9).commit, delays=(0.0, 0.0))
    with capture_logs() as logs:
        ledger.record_soon(RECORD)
        await ledger.drain()
    (entry,) = logs
    assert (entry["event"], entry["generation_id"], entry["tenant_id"]) == ("usage_not_stored", "g1", "acme")
