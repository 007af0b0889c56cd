"""Responses: their events, what is kept of them, what goes on from them, and how they end early."""

import asyncio
import gc
import uuid
from collections.abc import AsyncIterator, Awaitable, Sequence
from typing import TYPE_CHECKING, Any

import asyncpg
import grpc
import pytest
import redis.asyncio as aioredis
from soma.model.v1 import message_pb2
from soma.model.v1.options_pb2 import (
    URGENCY_BACKGROUND,
    URGENCY_INTERACTIVE,
    URGENCY_UNSPECIFIED,
    GenerationOptions,
    Urgency,
)
from soma.orchestrator.v1 import response_service_pb2 as pb
from soma.policy.v1.policy_service_pb2 import DECISION_DENY

from services.mesh.call.call import run_as
from services.mesh.call.errors import Cancelled, Code, MeshError
from services.mesh.call.principal import Principal
from services.mesh.call.status import from_rpc_error
from services.mesh.testing.jobs import step_of
from services.mesh.testing.local import SOMEBODY
from services.mesh.testing.waiting import until
from services.orchestrator.responses import store as stored
from services.orchestrator.responses.response import ResponseBuilder
from services.orchestrator.responses.store import PostgresResponses
from tests.fakes.fake import away
from tests.fakes.model import answer, lost, refusing
from tests.fakes.policy import Rule
from tests.orchestrator.conftest import EMBEDDER, Fakes, Orchestrator, serving, unwatched, without_store
from tests.orchestrator.statements import seen as shown

if TYPE_CHECKING:
    from tests.databases import OwnedDatabase

Said = message_pb2.Message
USER, ASSISTANT, TOOL = message_pb2.ROLE_USER, message_pb2.ROLE_ASSISTANT, message_pb2.ROLE_TOOL
COMMENTARY, FINAL_ANSWER = message_pb2.PHASE_COMMENTARY, message_pb2.PHASE_FINAL_ANSWER
STRANGER = Principal(tenant_id="other", subject="eve", scopes=frozenset({"*"}))
NOBODYS = f"resp_{uuid.UUID(int=7).hex}"


def asking(text: str = "Hi", **settings: object) -> pb.CreateResponseRequest:
    message = pb.ResponseInput(message=Said(role=USER, content=text))
    return pb.CreateResponseRequest(input=[message], settings=pb.ResponseSettings(**settings))  # type: ignore[arg-type]


async def events_of(orchestrator: Orchestrator, request: pb.CreateResponseRequest) -> list[pb.CreateResponseResponse]:
    with run_as(SOMEBODY):
        return [event async for event in orchestrator.responses.CreateResponse(request)]


async def create(orchestrator: Orchestrator, request: pb.CreateResponseRequest) -> pb.Response:
    return (await events_of(orchestrator, request))[-1].finished


async def get(orchestrator: Orchestrator, response_id: str, who: Principal = SOMEBODY) -> pb.Response:
    with run_as(who):
        return (await orchestrator.responses.GetResponse(pb.GetResponseRequest(response_id=response_id))).response


async def cancel(orchestrator: Orchestrator, response_id: str) -> pb.Response:
    with run_as(SOMEBODY):
        asked = pb.CancelResponseRequest(response_id=response_id)
        return (await orchestrator.responses.CancelResponse(asked)).response


async def refusal(call: Awaitable[object]) -> MeshError:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call
    return from_rpc_error(raised.value)


def kinds(events: Sequence[pb.CreateResponseResponse]) -> list[str | None]:
    return [event.WhichOneof("payload") for event in events]


async def test_text_comes_as_one_item_and_the_response_as_a_whole_at_the_end(orchestrator: Orchestrator) -> None:
    events = await events_of(orchestrator, asking(metadata={"a": "b"}))
    assert kinds(events) == ["created", "item_begun", "delta", "delta", "item_done", "finished"]
    assert [event.sequence for event in events] == list(range(6))
    assert events[0].created.state == pb.Response.STATE_IN_PROGRESS
    response = events[-1].finished
    assert response.state == pb.Response.STATE_COMPLETED
    assert response.model == "scripted"
    assert [item.text.text for item in response.output] == ["Hello there"]
    assert response.usage.total_tokens == 5
    assert events[1].item_begun.item == pb.ResponseItem(item_id=response.output[0].item_id, text=pb.ResponseText())
    assert events[4].item_done.item == response.output[0]
    assert await get(orchestrator, response.response_id) == response


async def test_each_tool_call_is_an_item_whatever_order_their_pieces_come_in(
    orchestrator: Orchestrator, fakes: Fakes
) -> None:
    calls = [
        message_pb2.ToolCallDelta(index=0, call_id="c0", name="look", arguments='{"a":'),
        message_pb2.ToolCallDelta(index=1, call_id="c1", name="ask"),
        message_pb2.ToolCallDelta(index=0, arguments="1}"),
        message_pb2.ToolCallDelta(index=1, arguments="{}"),
    ]
    fakes.model.answers = [answer("Let me see.", *calls)]
    events = await events_of(orchestrator, asking())
    assert kinds(events[3:]) == [
        *("item_done", "item_begun", "arguments", "item_begun", "arguments", "arguments"),
        *("item_done", "item_done", "finished"),
    ]
    output = events[-1].finished.output
    assert [item.tool_call for item in output[1:]] == [
        message_pb2.ToolCall(call_id="c0", name="look", arguments='{"a":1}'),
        message_pb2.ToolCall(call_id="c1", name="ask", arguments="{}"),
    ]
    assert len({item.item_id for item in output}) == 3


async def test_an_item_that_is_whole_ends_before_the_next_one_begins(orchestrator: Orchestrator, fakes: Fakes) -> None:
    calls = [
        message_pb2.ToolCallDelta(index=0, call_id="c0", name="look", arguments='{"a":'),
        message_pb2.ToolCallDelta(index=0, arguments="1}"),
        message_pb2.ToolCallDelta(index=1, call_id="c1", name="ask", arguments="{}"),
        # A provider may end its lines.
        message_pb2.ToolCallDelta(index=0, arguments="\n"),
    ]
    fakes.model.answers = [answer("Let me see.", *calls)]
    events = await events_of(orchestrator, asking())
    assert kinds(events[1:]) == [
        *("item_begun", "delta", "item_done"),
        *("item_begun", "arguments", "arguments", "item_done"),
        *("item_begun", "arguments", "item_done", "finished"),
    ]
    done = [event.item_done.item for event in events if event.HasField("item_done")]
    assert done == list(events[-1].finished.output)


async def test_a_refusal_is_an_item_of_its_own(orchestrator: Orchestrator, fakes: Fakes) -> None:
    fakes.model.answers = [answer("Well,", refusing(" I"), refusing(" cannot."))]
    events = await events_of(orchestrator, asking())
    assert [(item.text.text, item.text.refusal) for item in events[-1].finished.output] == [
        ("Well,", False),
        (" I cannot.", True),
    ]
    begun = [event.item_begun.item.text.refusal for event in events if event.HasField("item_begun")]
    assert begun == [False, True]


async def listed(orchestrator: Orchestrator, response_id: str, **how: Any) -> pb.ListResponseInputItemsResponse:
    with run_as(SOMEBODY):
        asked = pb.ListResponseInputItemsRequest(response_id=response_id, **how)
        return await orchestrator.responses.ListResponseInputItems(asked)


async def test_the_input_of_a_response_is_listed_with_that_of_earlier_responses(
    orchestrator: Orchestrator, fakes: Fakes
) -> None:
    call = message_pb2.ToolCall(call_id="c0", name="look", arguments="{}")
    look = message_pb2.ToolCallDelta(index=0, call_id="c0", name="look", arguments="{}")
    fakes.model.answers = [answer(look), answer("Snow.")]
    first = await create(orchestrator, asking("Hi"))
    result = Said(role=TOOL, tool_call_id="c0", content="white")
    request = asking("Well?", previous_response_id=first.response_id)
    request.input.insert(0, pb.ResponseInput(message=result))
    second = await create(orchestrator, request)
    one, two = (response.response_id.removeprefix("resp_") for response in (first, second))
    expected = [
        (f"msg_{one}_i0", Said(role=USER, content="Hi")),
        (f"fc_{one}_0", Said(role=ASSISTANT, tool_calls=[call])),
        (f"fco_{two}_i0", result),
        (f"msg_{two}_i1", Said(role=USER, content="Well?")),
    ]
    whole = await listed(orchestrator, second.response_id)
    assert [(item.item_id, item.message) for item in whole.items] == expected
    assert whole.next_page_token == ""
    page = await listed(orchestrator, second.response_id, page_size=3, newest_first=True)
    assert [item.item_id for item in page.items] == [item_id for item_id, _ in expected[:0:-1]]
    rest = await listed(orchestrator, second.response_id, page_token=page.next_page_token, newest_first=True)
    assert ([item.item_id for item in rest.items], rest.next_page_token) == ([expected[0][0]], "")
    named = pb.CreateResponseRequest(input=[pb.ResponseInput(item_id=item.item_id) for item in whole.items])
    await create(orchestrator, named)
    assert list(fakes.model.generated[-1].messages) == [message for _, message in expected]
    assert (await refusal(listed(orchestrator, second.response_id, page_token="x"))).code is Code.INVALID_ARGUMENT
    assert (await refusal(listed(orchestrator, second.response_id, page_token="x"))).reason == "PAGE_TOKEN_INVALID"
    assert (await refusal(listed(orchestrator, NOBODYS))).reason == "RESPONSE_NOT_FOUND"


@pytest.mark.parametrize("reason", [message_pb2.FINISH_REASON_LENGTH, message_pb2.FINISH_REASON_CONTENT_FILTER])
async def test_an_answer_cut_short_is_incomplete(
    orchestrator: Orchestrator, fakes: Fakes, reason: message_pb2.FinishReason.ValueType
) -> None:
    fakes.model.answers = [answer("Hello", " there", end=reason)]
    response = await create(orchestrator, asking())
    assert (response.state, response.finish_reason) == (pb.Response.STATE_INCOMPLETE, reason)


async def test_a_response_continues_all_earlier_ones_without_their_instructions(
    orchestrator: Orchestrator, fakes: Fakes
) -> None:
    look = message_pb2.ToolCallDelta(call_id="c1", name="look", arguments="{}")
    fakes.model.answers = [answer("Hello", " there", look), answer("Hello", " there")]
    first = await create(orchestrator, asking("One", instructions="Be brief."))
    result = pb.ResponseInput(message=Said(role=TOOL, tool_call_id="c1", content="42"))
    second = asking(previous_response_id=first.response_id)
    second.input[0].CopyFrom(result)
    middle = await create(orchestrator, second)
    await create(orchestrator, asking("Three", previous_response_id=middle.response_id))
    call = message_pb2.ToolCall(call_id="c1", name="look", arguments="{}")
    assert list(fakes.model.generated[-1].messages) == [
        Said(role=USER, content="One"),
        Said(role=ASSISTANT, content="Hello there", tool_calls=[call], phase=COMMENTARY),
        Said(role=TOOL, tool_call_id="c1", content="42"),
        Said(role=ASSISTANT, content="Hello there", phase=FINAL_ANSWER),
        Said(role=USER, content="Three"),
    ]
    assert fakes.model.generated[0].messages[0] == Said(role=message_pb2.ROLE_SYSTEM, content="Be brief.")


async def test_a_response_whose_earlier_responses_are_incomplete_cannot_be_continued(
    orchestrator: Orchestrator,
) -> None:
    first = await create(orchestrator, asking())
    second = await create(orchestrator, asking(previous_response_id=first.response_id))
    with run_as(SOMEBODY):
        await orchestrator.responses.DeleteResponse(pb.DeleteResponseRequest(response_id=first.response_id))
    for previous in (first.response_id, second.response_id, NOBODYS, "not an id\0"):
        error = await refusal(events_of(orchestrator, asking(previous_response_id=previous)))
        assert (error.code, error.reason) == (Code.INVALID_ARGUMENT, "PREVIOUS_RESPONSE_NOT_FOUND")
        assert error.facts.violations[0].field == "previous_response_id"


async def test_an_input_may_name_items_of_earlier_responses(orchestrator: Orchestrator, fakes: Fakes) -> None:
    first = await create(orchestrator, asking())
    request = asking("Again")
    request.input.insert(0, pb.ResponseInput(item_id=first.output[0].item_id))
    again = await create(orchestrator, request)
    expected = [Said(role=ASSISTANT, content="Hello there", phase=FINAL_ANSWER), Said(role=USER, content="Again")]
    assert list(fakes.model.generated[-1].messages) == expected
    # What is kept is the message itself: it stays when the response it came from goes.
    with run_as(SOMEBODY):
        await orchestrator.responses.DeleteResponse(pb.DeleteResponseRequest(response_id=first.response_id))
    await create(orchestrator, asking("On", previous_response_id=again.response_id))
    assert list(fakes.model.generated[-1].messages)[:2] == expected
    for item_id in (first.output[0].item_id, "msg_1"):
        request.input[0].item_id = item_id
        assert (await refusal(events_of(orchestrator, request))).reason == "ITEM_NOT_FOUND"


async def test_a_response_that_is_not_stored_cannot_be_found(orchestrator: Orchestrator) -> None:
    response = await create(orchestrator, asking(store=False))
    assert (await refusal(get(orchestrator, response.response_id))).reason == "RESPONSE_NOT_FOUND"


async def test_another_tenant_cannot_find_a_response(orchestrator: Orchestrator) -> None:
    response = await create(orchestrator, asking())
    assert (await refusal(get(orchestrator, response.response_id, STRANGER))).code == Code.NOT_FOUND
    with run_as(STRANGER):
        asked = pb.DeleteResponseRequest(response_id=response.response_id)
        assert (await refusal(orchestrator.responses.DeleteResponse(asked))).code == Code.NOT_FOUND
        error = await refusal(
            anext(aiter(orchestrator.responses.CreateResponse(asking(previous_response_id=response.response_id))))
        )
        assert error.reason == "PREVIOUS_RESPONSE_NOT_FOUND"
    assert await get(orchestrator, response.response_id) == response


async def test_a_response_whose_turn_fails_after_its_start_is_kept_as_failed(
    orchestrator: Orchestrator, fakes: Fakes
) -> None:
    fakes.model.answers = [answer("Hello", end=lost())]
    seen: list[pb.CreateResponseResponse] = []
    with run_as(SOMEBODY), pytest.raises(grpc.aio.AioRpcError) as raised:
        async for event in orchestrator.responses.CreateResponse(asking()):
            seen.append(event)
    assert from_rpc_error(raised.value).reason == "PROVIDER_UNAVAILABLE"
    assert kinds(seen) == ["created", "item_begun", "delta", "error"]
    kept = await get(orchestrator, seen[0].created.response_id)
    assert (kept.state, kept.error.reason) == (pb.Response.STATE_FAILED, "PROVIDER_UNAVAILABLE")
    assert kept.output[0].text.text == "Hello"


async def test_a_response_whose_model_says_cancelled_has_failed(orchestrator: Orchestrator, fakes: Fakes) -> None:
    fakes.model.answers = [answer("Hello", end=Cancelled("the model's process went away"))]
    seen: list[pb.CreateResponseResponse] = []
    with run_as(SOMEBODY), pytest.raises(grpc.aio.AioRpcError) as raised:
        async for event in orchestrator.responses.CreateResponse(asking()):
            seen.append(event)
    assert from_rpc_error(raised.value).code == Code.CANCELLED
    kept = await get(orchestrator, seen[0].created.response_id)
    assert (kept.state, kept.error.reason) == (pb.Response.STATE_FAILED, "CANCELLED")


async def test_a_turn_that_never_starts_is_not_kept(
    orchestrator: Orchestrator, fakes: Fakes, database: "OwnedDatabase"
) -> None:
    fakes.policy.rules = [Rule("Hi", DECISION_DENY, "chat.input")]
    assert (await refusal(events_of(orchestrator, asking()))).reason == "POLICY_DENIED"
    assert await database.fetchval("SELECT count(*) FROM orchestrator.response") == 0


async def _stalled(orchestrator: Orchestrator, fakes: Fakes) -> tuple[str, AsyncIterator[pb.CreateResponseResponse]]:
    """A response that has said one word and says no more."""
    fakes.model.answers = [answer("Hello", fakes.model.resume)]
    with run_as(SOMEBODY):
        events = aiter(orchestrator.responses.CreateResponse(asking()))
    created = await anext(events)
    await fakes.model.waiting.wait()
    return created.created.response_id, events


async def test_cancelling_ends_the_generation_and_the_stream_of_its_reader(
    orchestrator: Orchestrator, fakes: Fakes
) -> None:
    response_id, events = await _stalled(orchestrator, fakes)
    assert (await cancel(orchestrator, response_id)).state == pb.Response.STATE_CANCELLED
    rest = [event async for event in events]
    await asyncio.wait_for(fakes.model.cancelled.wait(), 15)
    assert rest[-1].finished.state == pb.Response.STATE_CANCELLED
    kept = await get(orchestrator, response_id)
    assert kept.output[0].text.text == "Hello"
    assert await cancel(orchestrator, response_id) == kept


async def test_cancelling_a_whole_response_changes_nothing(orchestrator: Orchestrator) -> None:
    response = await create(orchestrator, asking())
    assert await cancel(orchestrator, response.response_id) == response


async def test_a_response_cancelled_or_deleted_by_another_process_ends_here(
    orchestrator: Orchestrator, fakes: Fakes, database: "OwnedDatabase", redis: aioredis.Redis
) -> None:
    response_id, events = await _stalled(orchestrator, fakes)
    async with serving(database, redis, fakes) as other:
        await cancel(other, response_id)
        rest = [event async for event in events]
    assert rest[-1].finished.state == pb.Response.STATE_CANCELLED


async def test_a_response_with_a_slow_model_is_not_cancelled(orchestrator: Orchestrator, fakes: Fakes) -> None:
    fakes.model.held = asyncio.Event()
    making = asyncio.create_task(create(orchestrator, asking()))

    async def asked() -> bool:
        return "generate" in fakes.happened

    await until(asked)
    await step_of("orchestrator", "responses")
    fakes.model.held.set()
    assert (await making).state == pb.Response.STATE_COMPLETED


async def test_a_response_that_has_ended_does_not_count_as_cancelled(
    orchestrator: Orchestrator, database: "OwnedDatabase"
) -> None:
    response = await create(orchestrator, asking())
    store = PostgresResponses(database, unwatched(), without_store(database))
    place = (SOMEBODY.tenant_id, response.response_id)
    assert await store.still_wanted([place]) == {place}


async def test_a_caller_that_leaves_cancels_its_response(orchestrator: Orchestrator, fakes: Fakes) -> None:
    fakes.model.answers = [answer("Hello", fakes.model.resume)]
    with run_as(SOMEBODY):
        call = orchestrator.responses.CreateResponse(asking())
        response_id = (await anext(aiter(call))).created.response_id
        await fakes.model.waiting.wait()
        call.cancel()

    async def cancelled() -> bool:
        return (await get(orchestrator, response_id)).state == pb.Response.STATE_CANCELLED

    await until(cancelled)


@pytest.mark.parametrize("ends", ["the caller leaves", "the model fails"])
async def test_a_response_that_ends_early_is_freed_without_the_garbage_collector(
    orchestrator: Orchestrator, fakes: Fakes, ends: str
) -> None:
    """A cycle would keep megabytes of each: the collector does not see the memory of messages."""

    def builders() -> list[int]:
        return [id(each) for each in gc.get_objects() if isinstance(each, ResponseBuilder)]

    leaves = ends == "the caller leaves"
    fakes.model.answers = [answer("Hello", fakes.model.resume) if leaves else answer("Hello", end=lost())]
    gc.collect()
    gc.disable()
    try:
        before = builders()
        with run_as(SOMEBODY):
            call = orchestrator.responses.CreateResponse(asking(store=False))
            events = aiter(call)
            assert (await anext(events)).HasField("created")
            if leaves:
                await fakes.model.waiting.wait()
                call.cancel()
            else:
                with pytest.raises(grpc.aio.AioRpcError):
                    [event async for event in events]
            del call, events

        async def freed() -> bool:
            return builders() == before

        await until(freed)
    finally:
        gc.enable()


@pytest.mark.parametrize(
    ("model", "code", "reason"),
    [
        ("talkr", Code.NOT_FOUND, "MODEL_NOT_FOUND"),
        ("embedder", Code.INVALID_ARGUMENT, "MODEL_CAPABILITY_MISSING"),
        ("", Code.NOT_FOUND, "MODEL_NOT_FOUND"),
    ],
)
async def test_a_background_response_of_a_model_that_cannot_answer_is_refused_at_once(
    orchestrator: Orchestrator, fakes: Fakes, database: "OwnedDatabase", model: str, code: Code, reason: str
) -> None:
    fakes.catalog.models = [EMBEDDER]
    request = asking(background=True)
    request.model = model
    error = await refusal(events_of(orchestrator, request))
    assert (error.code, error.reason) == (code, reason)
    assert await database.fetchval("SELECT count(*) FROM orchestrator.response") == 0


async def test_a_background_response_is_refused_while_the_catalogue_is_away(
    orchestrator: Orchestrator, fakes: Fakes
) -> None:
    fakes.catalog.failure = away()
    assert (await refusal(events_of(orchestrator, asking(background=True)))).code is Code.UNAVAILABLE
    assert kinds(await events_of(orchestrator, asking()))[-1] == "finished"


async def test_a_background_response_is_made_without_a_reader(orchestrator: Orchestrator, fakes: Fakes) -> None:
    with run_as(SOMEBODY):
        call = orchestrator.responses.CreateResponse(asking(background=True))
        response_id = (await anext(aiter(call))).created.response_id
        call.cancel()

    async def completed() -> bool:
        return (await get(orchestrator, response_id)).state == pb.Response.STATE_COMPLETED

    await until(completed)
    error = await refusal(events_of(orchestrator, asking(background=True, store=False)))
    assert error.code == Code.INVALID_ARGUMENT


@pytest.mark.parametrize(
    ("given", "urgency"),
    [
        ({"background": True}, URGENCY_BACKGROUND),
        ({"background": True, "options": GenerationOptions(urgency=URGENCY_INTERACTIVE)}, URGENCY_INTERACTIVE),
        ({}, URGENCY_UNSPECIFIED),
        ({"options": GenerationOptions(urgency=URGENCY_BACKGROUND)}, URGENCY_BACKGROUND),
    ],
)
async def test_nobody_waits_for_a_response_in_the_background_unless_its_request_says_so(
    orchestrator: Orchestrator, fakes: Fakes, given: dict[str, Any], urgency: "Urgency.ValueType"
) -> None:
    await events_of(orchestrator, asking(**given))
    assert [each.options.urgency for each in fakes.model.generated] == [urgency]


async def test_an_unfinished_response_cannot_be_continued(orchestrator: Orchestrator, fakes: Fakes) -> None:
    response_id, _ = await _stalled(orchestrator, fakes)
    error = await refusal(events_of(orchestrator, asking(previous_response_id=response_id)))
    assert error.reason == "PREVIOUS_RESPONSE_IN_PROGRESS"


async def test_an_unfinished_response_of_a_stopping_process_fails_with_that_reason(
    orchestrator: Orchestrator, fakes: Fakes, database: "OwnedDatabase", redis: aioredis.Redis
) -> None:
    async def heard(events: AsyncIterator[pb.CreateResponseResponse]) -> None:
        async for _ in events:
            pass

    async with serving(database, redis, fakes) as stopping:
        response_id, events = await _stalled(stopping, fakes)
        hearing = asyncio.create_task(heard(events))
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await hearing
    assert from_rpc_error(raised.value).reason == "INTERRUPTED"
    kept = await get(orchestrator, response_id)
    assert (kept.state, kept.error.reason) == (pb.Response.STATE_FAILED, "INTERRUPTED")
    assert (kept.error.code, kept.error.status) == (Code.UNAVAILABLE, "UNAVAILABLE")


async def test_a_response_whose_process_died_is_failed(
    orchestrator: Orchestrator, fakes: Fakes, monkeypatch: pytest.MonkeyPatch
) -> None:
    response_id, _ = await _stalled(orchestrator, fakes)
    monkeypatch.setattr(stored, "LOST_SECONDS", 0.0)
    kept = await get(orchestrator, response_id)
    assert (kept.state, kept.error.reason) == (pb.Response.STATE_FAILED, "INTERRUPTED")
    assert (kept.error.code, kept.error.status) == (Code.UNAVAILABLE, "UNAVAILABLE")


async def test_a_response_whose_end_cannot_be_stored_is_an_error(
    database: "OwnedDatabase", redis: aioredis.Redis, fakes: Fakes
) -> None:
    def lose(statement: str) -> None:
        if statement == stored.END:
            raise asyncpg.ConnectionDoesNotExistError

    pool = shown(database, lose)
    seen: list[pb.CreateResponseResponse] = []
    async with serving(pool, redis, fakes) as orchestrator:
        with run_as(SOMEBODY), pytest.raises(grpc.aio.AioRpcError) as raised:
            async for event in orchestrator.responses.CreateResponse(asking()):
                seen.append(event)
    assert [event.item_done.item.text.text for event in seen if event.HasField("item_done")] == ["Hello there"]
    assert kinds(seen)[-1] == "error"
    assert from_rpc_error(raised.value).reason == "POSTGRES_UNAVAILABLE"


async def test_old_responses_are_deleted(database: "OwnedDatabase", redis: aioredis.Redis, fakes: Fakes) -> None:
    async with serving(database, redis, fakes) as orchestrator:
        old, response = await create(orchestrator, asking()), await create(orchestrator, asking())
    await database.execute(
        "UPDATE orchestrator.response SET create_time = create_time - interval '1 day' WHERE response_id = $1",
        old.response_id,
    )
    async with serving(database, redis, fakes, responses_kept_days=0.9) as orchestrator:

        async def one_left() -> bool:
            return bool(await database.fetchval("SELECT count(*) = 1 FROM orchestrator.response"))

        await until(one_left)
        assert await get(orchestrator, response.response_id) == response
        assert (await refusal(get(orchestrator, old.response_id))).code == Code.NOT_FOUND


async def test_a_response_with_a_conversation_adds_its_turn_to_it(orchestrator: Orchestrator, fakes: Fakes) -> None:
    await create(orchestrator, asking(conversation_id="c"))
    await orchestrator.delivered()
    assert [m.content for m in fakes.memory.conversations[SOMEBODY.tenant_id, "c"]] == ["Hi", "Hello there"]
    error = await refusal(events_of(orchestrator, asking(conversation_id="c", previous_response_id=NOBODYS)))
    assert error.facts.violations[0].field == "settings.previous_response_id"
