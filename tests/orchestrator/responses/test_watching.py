"""A response that is made in the background can be followed by anybody, at any time, from any of its events."""

import asyncio
from collections.abc import AsyncIterable

import pytest
from soma.orchestrator.v1 import response_service_pb2 as pb

from services.mesh.call import run_as
from services.mesh.errors import Code
from services.mesh.principal import Principal
from services.mesh.testing.local import SOMEBODY
from services.orchestrator.responses import store as stored
from tests.orchestrator.conftest import Orchestrator
from tests.orchestrator.neighbours import Script
from tests.orchestrator.responses.test_responses import STRANGER, asking, create, events_of, refusal


async def watch(
    orchestrator: Orchestrator, response_id: str, after: int | None = None, who: Principal = SOMEBODY
) -> list[pb.WatchResponseResponse]:
    with run_as(who):
        asked = pb.WatchResponseRequest(response_id=response_id, after_sequence=after)
        return [event async for event in orchestrator.responses.WatchResponse(asked)]


def same(event: pb.CreateResponseResponse) -> pb.WatchResponseResponse:
    return pb.WatchResponseResponse.FromString(event.SerializeToString())


async def test_the_events_come_again_and_from_where_a_caller_left(orchestrator: Orchestrator) -> None:
    events = [same(event) for event in await events_of(orchestrator, asking(background=True))]
    response_id = events[0].created.response_id
    assert await watch(orchestrator, response_id) == events
    for after in range(len(events) - 1):
        assert await watch(orchestrator, response_id, after) == events[after + 1 :]


async def test_a_response_is_followed_while_it_is_made(orchestrator: Orchestrator, script: Script) -> None:
    script.stall_after = 1
    with run_as(SOMEBODY):
        async with asyncio.timeout(10):
            call = orchestrator.responses.CreateResponse(asking(background=True))
            response_id = (await anext(aiter(call))).created.response_id
            call.cancel()
            await script.stalled.wait()
            watched = aiter(orchestrator.responses.WatchResponse(pb.WatchResponseRequest(response_id=response_id)))
            seen = [await anext(watched) for _ in range(3)]
            assert [event.WhichOneof("payload") for event in seen] == ["created", "item_begun", "delta"]
            script.resume.set()
            rest = [event async for event in watched]
    assert [event.WhichOneof("payload") for event in rest] == ["delta", "item_done", "finished"]
    assert rest[-1].finished.state == pb.Response.STATE_COMPLETED


async def test_a_turn_that_fails_is_told_as_a_failed_response(orchestrator: Orchestrator, script: Script) -> None:
    script.fail_after = 1
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


async def test_one_whose_process_died_ends_as_failed(
    orchestrator: Orchestrator, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    script.stall_after = 0
    with run_as(SOMEBODY):
        call = orchestrator.responses.CreateResponse(asking(background=True))
        response_id = (await anext(aiter(call))).created.response_id
    monkeypatch.setattr(stored, "LOST_SECONDS", 0.0)
    assert (await watch(orchestrator, response_id))[-1].finished.state == pb.Response.STATE_FAILED


async def test_what_was_not_made_in_the_background_or_is_not_there_cannot_be_watched(
    orchestrator: Orchestrator,
) -> None:
    awaited = await create(orchestrator, asking())
    assert (await refusal(watch(orchestrator, awaited.response_id))).reason == "RESPONSE_NOT_IN_BACKGROUND"
    response = await create(orchestrator, asking(background=True))
    assert (await refusal(watch(orchestrator, response.response_id, who=STRANGER))).code is Code.NOT_FOUND
    with run_as(SOMEBODY):
        await orchestrator.responses.DeleteResponse(pb.DeleteResponseRequest(response_id=response.response_id))
    assert (await refusal(watch(orchestrator, response.response_id))).code is Code.NOT_FOUND
    await orchestrator.events.add(response.response_id, pb.CreateResponseResponse(sequence=9))
    assert await orchestrator.events.since(response.response_id, 0) == []
