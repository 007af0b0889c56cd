"""A shop that sends `shop.item.sold`, and services that consume it, on real stores."""

import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import redis.asyncio as aioredis
from prometheus_client import REGISTRY
from soma.events.v1.event_pb2 import Event

from services.mesh.events import consumer
from services.mesh.events.consumer import Consumer, Handler, consuming
from services.mesh.events.outbox import Outbox
from services.mesh.events.relay import Relay
from services.mesh.process.jobs import Job
from services.mesh.stores.migrations import migrate
from services.mesh.testing.waiting import until

if TYPE_CHECKING:
    from services.mesh.stores.postgres import Connection
    from tests.databases import OwnedDatabase

SOLD = "shop.item.sold"
STREAM = "soma:events:shop"
# Not unique, so that a repeated effect is a second row.
EFFECTS = "CREATE TABLE shop.effect (place bigint GENERATED ALWAYS AS IDENTITY, consumer text, item bigint)"


def sold(number: int, type: str = SOLD) -> Event:
    """The event that item `number` was sold; the number is in its id."""
    return Event(event_id=str(uuid.UUID(int=number)), type=type, tenant_id="acme")


def number_of(event: Event) -> int:
    """The number of the item."""
    return uuid.UUID(event.event_id).int


def noting(service: str) -> Handler:
    """A handler that records what it handled."""

    async def handler(connection: "Connection", event: Event) -> None:
        await connection.execute("INSERT INTO shop.effect (consumer, item) VALUES ($1, $2)", service, number_of(event))

    return handler


class Shop:
    """Sends events, and shows what happened to them."""

    def __init__(self, pool: "OwnedDatabase", redis: aioredis.Redis) -> None:
        self.pool = pool
        self.redis = redis
        self.outbox = Outbox("shop", (SOLD,))
        self.relay = Relay(pool.system, redis, self.outbox)

    async def sell(self, *numbers: int) -> None:
        """Write events in one transaction."""
        async with self.pool.tenants.transaction("acme") as connection:
            for number in numbers:
                await self.outbox.add(connection, f"item-{number}", sold(number))
        self.outbox.wake()

    async def relayed(self) -> None:
        """Relay until the outbox has nothing to send."""
        relaying, _ = self.relay.jobs
        await until(lambda: self._relayed(relaying))

    async def _relayed(self, relaying: Job) -> bool:
        await relaying.step()
        return not await self.pool.fetchval("SELECT count(*) FROM shop.outbox WHERE added_ms IS NULL")

    async def trimmed(self) -> None:
        """Delete the handled events, once."""
        _, trimming = self.relay.jobs
        await trimming.step()

    def jobs(self, service: str = "stock", handler: Handler | None = None, **options: Any) -> list[Job]:
        """The jobs of a service that consumes the shop's events."""
        handling = Consumer(SOLD, handler or noting(service), **options)
        return consuming(service, [handling], self.pool, self.redis)

    def following(self, service: str = "stock", handler: Handler | None = None, **options: Any) -> Job:
        """The job that reads and handles events."""
        return self.jobs(service, handler, **options)[0]

    async def effects(self, service: str = "stock") -> list[int]:
        """The items that a service has handled, in order."""
        rows = await self.pool.fetch("SELECT item FROM shop.effect WHERE consumer = $1 ORDER BY place", service)
        return [row["item"] for row in rows]

    async def has_effects(self, count: int, service: str = "stock") -> bool:
        """Whether the service has handled this number of items."""
        return len(await self.effects(service)) >= count

    async def kept(self) -> int:
        """How many rows the outbox has."""
        return int(await self.pool.fetchval("SELECT count(*) FROM shop.outbox"))

    async def length(self) -> int:
        """How many entries the stream has."""
        return int(await self.redis.xlen(STREAM))

    async def letters(self) -> Sequence[Any]:
        """Every dead letter, oldest first."""
        return await self.pool.fetch("SELECT * FROM mesh.dead_letter ORDER BY create_time, id")


def metric(name: str, **labels: str) -> float:
    """The value of a metric; 0 if it does not exist yet."""
    return REGISTRY.get_sample_value(name, labels) or 0.0


async def stepped(job: Job, times: int) -> None:
    """Run the step of a job this many times."""
    for _ in range(times):
        await job.step()


async def caught_up(job: Job) -> None:
    """Run the step of a job until its stream has no more entries."""
    while await job.step():
        continue


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a consumer wait only a short time for entries, so that its step ends."""
    monkeypatch.setattr(consumer, "BLOCK_MILLISECONDS", 50)


@pytest.fixture
async def shop(postgres_url: str, database: "OwnedDatabase", redis: aioredis.Redis, tmp_path: Path) -> Shop:
    """A shop whose events have no consumer yet."""
    await migrate(postgres_url, "shop", tmp_path, outbox=True)
    await database.execute(EFFECTS)
    return Shop(database, redis)
