"""A response that is made in the background can be followed by anybody, at any time, from any of its events."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest
import redis.asyncio as aioredis
from soma.orchestrator.v1 import response_service_pb2 as pb

from services.mesh.call.call import run_as
from services.mesh.call.errors import Code
from services.mesh.call.principal import Principal
from services.mesh.stores.redis import open_client
from services.mesh.testing.local import SOMEBODY
from services.mesh.watching import rows
from services.orchestrator.responses import store as stored
from services.orchestrator.responses.store import PostgresResponseEvents, PostgresResponses
from tests.databases import open_database
from tests.fakes.model import answer, lost
from tests.orchestrator.conftest import Fakes, Orchestrator, serving, unwatched, without_store
from tests.orchestrator.responses.test_responses import NOBODYS, STRANGER, asking, cancel, create, events_of, refusal
from tests.orchestrator.statements import seen

if TYPE_CHECKING:
    from tests.databases import OwnedDatabase


async def watch(
    orchestrator: Orchestrator, response_id: str, after: int | None = None, who: Principal = SOMEBODY
) -> list[pb.WatchResponseResponse]:
    with run_as(who):
        asked = pb.WatchResponseRequest(response_id=response_id, after_sequence=after)
        return [event async for event in orchestrator.responses.WatchResponse(asked)]


def same(event: pb.CreateResponseResponse) -> pb.WatchResponseResponse:
    return pb.WatchResponseResponse.FromString(event.SerializeToString())


async def test_the_events_can_be_read_again_from_any_event(orchestrator: Orchestrator) -> None:
    events = [same(event) for event in await events_of(orchestrator, asking(background=True))]
    response_id = events[0].created.response_id
    assert await watch(orchestrator, response_id) == events
    for after in range(len(events) - 1):
        assert await watch(orchestrator, response_id, after) == events[after + 1 :]


async def test_a_response_is_followed_while_it_is_made(orchestrator: Orchestrator, fakes: Fakes) -> None:
    fakes.model.answers = [answer("Hello", fakes.model.resume, " there")]
    with run_as(SOMEBODY):
        async with asyncio.timeout(10):
            call = orchestrator.responses.CreateResponse(asking(background=True))
            response_id = (await anext(aiter(call))).created.response_id
            call.cancel()
            await fakes.model.waiting.wait()
            watched = aiter(orchestrator.responses.WatchResponse(pb.WatchResponseRequest(response_id=response_id)))
            seen = [await anext(watched) for _ in range(3)]
            assert [event.WhichOneof("payload") for event in seen] == ["created", "item_begun", "delta"]
            fakes.model.resume.set()
            rest = [event async for event in watched]
    assert [event.WhichOneof("payload") for event in rest] == ["delta", "item_done", "finished"]
    assert rest[-1].finished.state == pb.Response.STATE_COMPLETED


async def test_a_watcher_gets_a_failed_turn_as_a_failed_response(orchestrator: Orchestrator, fakes: Fakes) -> None:
    fakes.model.answers = [answer("Hello", end=lost())]
    with run_as(SOMEBODY):
        made = aiter(orchestrator.responses.CreateResponse(asking(background=True)))
        response_id = (await anext(made)).created.response_id
        await refusal(_drained(made))
    events = await watch(orchestrator, response_id)
    assert [event.WhichOneof("payload") for event in events] == ["created", "item_begun", "delta", "finished"]
    assert events[-1].finished.state == pb.Response.STATE_FAILED


async def _drained(call: AsyncIterable[object]) -> None:
    async for _ in call:
        pass


async def test_a_watched_response_whose_process_died_ends_as_failed(
    orchestrator: Orchestrator, fakes: Fakes, monkeypatch: pytest.MonkeyPatch
) -> None:
    fakes.model.answers = [answer(fakes.model.resume)]
    with run_as(SOMEBODY):
        call = orchestrator.responses.CreateResponse(asking(background=True))
        response_id = (await anext(aiter(call))).created.response_id
    monkeypatch.setattr(stored, "LOST_SECONDS", 0.0)
    assert (await watch(orchestrator, response_id))[-1].finished.state == pb.Response.STATE_FAILED


async def test_a_response_that_does_not_exist_or_is_not_in_background_cannot_be_watched(
    orchestrator: Orchestrator, database: "OwnedDatabase"
) -> None:
    awaited = await create(orchestrator, asking())
    assert (await refusal(watch(orchestrator, awaited.response_id))).reason == "RESPONSE_NOT_IN_BACKGROUND"
    response = await create(orchestrator, asking(background=True))
    assert (await refusal(watch(orchestrator, response.response_id, who=STRANGER))).code is Code.NOT_FOUND
    with run_as(SOMEBODY):
        await orchestrator.responses.DeleteResponse(pb.DeleteResponseRequest(response_id=response.response_id))
    assert (await refusal(watch(orchestrator, response.response_id))).code is Code.NOT_FOUND
    events = PostgresResponseEvents(database, unwatched())
    await events.add(SOMEBODY.tenant_id, response.response_id, pb.CreateResponseResponse(sequence=9))
    await events.close()
    assert await events.since(SOMEBODY.tenant_id, response.response_id, 0) == []


class Counted:
    """A pool that counts the statements about responses."""

    def __init__(self, pool: "OwnedDatabase") -> None:
        self.pool = seen(pool, self._see)
        self.statements = 0

    def _see(self, statement: str) -> None:
        self.statements += "orchestrator.response" in statement


async def _in_background(orchestrator: Orchestrator, fakes: Fakes) -> str:
    """A response that says one word, and no more until it is let go on."""
    fakes.model.answers = [answer("Hello", fakes.model.resume, " there")]
    with run_as(SOMEBODY):
        call = orchestrator.responses.CreateResponse(asking(background=True))
        response_id = (await anext(aiter(call))).created.response_id
        call.cancel()
    await fakes.model.waiting.wait()
    return response_id


def _followed(orchestrator: Orchestrator, response_id: str) -> AsyncIterator[pb.WatchResponseResponse]:
    with run_as(SOMEBODY, timeout=60):
        return aiter(orchestrator.responses.WatchResponse(pb.WatchResponseRequest(response_id=response_id)))


async def test_an_idle_watcher_sends_heartbeats_and_no_queries_to_postgres(
    orchestrator: Orchestrator, database: "OwnedDatabase", fakes: Fakes, redis: aioredis.Redis
) -> None:
    counted = Counted(database)
    # Another process watches: the one that makes a response says every second that it lives.
    async with serving(counted.pool, redis, fakes) as other:
        watched = _followed(other, await _in_background(orchestrator, fakes))
        for _ in range(3):
            await anext(watched)
        assert (await anext(watched)).HasField("heartbeat")
        before = counted.statements
        assert before > 0
        assert (await anext(watched)).HasField("heartbeat")
        assert counted.statements == before


async def test_a_watcher_gets_events_of_another_process_without_polling(
    database: "OwnedDatabase", postgres_url: str, redis_url: str, fakes: Fakes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "LOOK_SECONDS", 1000.0)
    monkeypatch.setattr(rows, "LOOK_SECONDS_ALONE", 1000.0)
    async with (
        AsyncExitStack() as stack,
        open_client(redis_url) as one,
        open_client(redis_url) as other,
        serving(await open_database(postgres_url, stack), one, fakes) as maker,
        serving(database, other, fakes) as teller,
        asyncio.timeout(20),
    ):
        watched = _followed(teller, await _in_background(maker, fakes))
        seen = [await anext(watched) for _ in range(3)]
        fakes.model.resume.set()
        seen += [event async for event in watched]
        assert [event.WhichOneof("payload") for event in seen][3:] == ["delta", "item_done", "finished"]


async def test_a_watcher_learns_at_once_of_a_deletion_or_cancellation(
    orchestrator: Orchestrator, fakes: Fakes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "LOOK_SECONDS", 1000.0)
    response_id = await _in_background(orchestrator, fakes)
    async with asyncio.timeout(10):
        watched = _followed(orchestrator, response_id)
        for _ in range(3):
            await anext(watched)
        await cancel(orchestrator, response_id)
        assert (await anext(watched)).finished.state == pb.Response.STATE_CANCELLED
    response_id = await _in_background(orchestrator, fakes)
    async with asyncio.timeout(10):
        watched = _followed(orchestrator, response_id)
        for _ in range(3):
            await anext(watched)
        with run_as(SOMEBODY):
            await orchestrator.responses.DeleteResponse(pb.DeleteResponseRequest(response_id=response_id))
        assert (await refusal(_drained(watched))).reason == "RESPONSE_NOT_FOUND"


async def test_a_watcher_learns_of_a_dead_process_when_its_mark_expires(
    database: "OwnedDatabase", redis: aioredis.Redis, fakes: Fakes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "LOOK_SECONDS", 1000.0)
    monkeypatch.setattr(stored, "LOST_SECONDS", 2.0)
    counted = Counted(database)
    async with serving(counted.pool, redis, fakes) as orchestrator, asyncio.timeout(20):
        # All that a process which died has left of a response is its row and its events.
        response = pb.Response(response_id=NOBODYS, state=pb.Response.STATE_IN_PROGRESS)
        response.settings.background = True
        await PostgresResponses(database, unwatched(), without_store(database)).begin(
            SOMEBODY.tenant_id, asking(), response
        )
        events = PostgresResponseEvents(database, unwatched())
        await events.add(SOMEBODY.tenant_id, NOBODYS, pb.CreateResponseResponse(created=response))
        await events.close()
        watched = _followed(orchestrator, NOBODYS)
        assert (await anext(watched)).HasField("created")
        before = counted.statements
        finished = (await anext(watched)).finished
        assert (finished.state, finished.error.reason) == (pb.Response.STATE_FAILED, "INTERRUPTED")
        assert counted.statements - before <= 8


async def test_watching_from_after_the_last_event_gives_the_finished_response(orchestrator: Orchestrator) -> None:
    response = await create(orchestrator, asking(background=True))
    assert await watch(orchestrator, response.response_id, 1000) == [
        pb.WatchResponseResponse(sequence=1001, finished=response)
    ]
