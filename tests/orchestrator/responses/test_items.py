"""Items of responses: thoughts, texts with citations, and tool calls, and how they become messages again."""

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import pytest
import redis.asyncio as aioredis
from soma.model.v1.message_pb2 import (
    PHASE_FINAL_ANSWER,
    ROLE_ASSISTANT,
    ROLE_TOOL,
    ROLE_USER,
    Citation,
    Delta,
    Media,
    Message,
    Part,
    Reasoning,
    ReasoningDelta,
    Text,
    ToolCall,
    ToolCallDelta,
)
from soma.model.v1.options_pb2 import GenerationOptions
from soma.orchestrator.v1 import response_service_pb2 as pb

from services.mesh.call.call import run_as
from services.mesh.call.errors import Code, NotFound
from services.mesh.testing.local import SOMEBODY
from services.mesh.testing.waiting import until
from services.messages.message import text_of
from tests.fakes.model import answer, refusing
from tests.orchestrator.conftest import Fakes, Orchestrator, serving
from tests.orchestrator.responses.test_responses import asking, create, events_of, get, kinds, listed, refusal

if TYPE_CHECKING:
    from tests.databases import OwnedDatabase

BYTES = b"the bytes of a picture"
HASH = hashlib.sha256(BYTES).hexdigest()
PICTURE = Part(image=Media(hash=HASH, media_type="image/png"))
USER = Message(role=ROLE_USER, content="On")
CALL = ToolCall(call_id="c1", name="look", arguments="{}", signature="mark")
THOUGHT = Reasoning(text="Let me see.", signature="sig", provider="local", details='{"id":"r1"}')
PIECES = (
    ReasoningDelta(index=0, text="Let me"),
    ReasoningDelta(index=0, text=" see."),
    ReasoningDelta(index=0, signature="sig", details='{"id":"r1"}'),
    "Well,",
    Delta(text=" so.", citations=[Citation(url="https://a.example", start=0, end=5)]),
    ReasoningDelta(index=1, redacted="xx"),
    ToolCallDelta(call_id="c1", name="look", arguments="{}", signature="mark"),
)


def requesting(*messages: Message, **settings: object) -> pb.CreateResponseRequest:
    """A request with these messages."""
    request = asking("", **settings)
    del request.input[:]
    request.input.extend(pb.ResponseInput(message=message) for message in messages)
    return request


def result(call_id: str = "c1") -> Message:
    """The result of a tool call."""
    return Message(role=ROLE_TOOL, tool_call_id=call_id, content="42")


def output_of(items: Sequence[pb.ResponseItem]) -> list[pb.ResponseItem]:
    """The items without their ids."""
    bare = []
    for item in items:
        copy = pb.ResponseItem()
        copy.CopyFrom(item)
        copy.item_id = ""
        bare.append(copy)
    return bare


OUTPUT = [
    pb.ResponseItem(reasoning=THOUGHT),
    pb.ResponseItem(
        text=pb.ResponseText(text="Well, so.", citations=[Citation(url="https://a.example", start=0, end=5)])
    ),
    pb.ResponseItem(reasoning=Reasoning(redacted="xx", provider="local")),
    pb.ResponseItem(tool_call=CALL),
]


async def test_thoughts_are_items_in_their_place(orchestrator: Orchestrator, fakes: Fakes) -> None:
    fakes.model.answers = [answer(*PIECES)]
    events = await events_of(orchestrator, asking())
    assert kinds(events) == [
        *("created", "item_begun", "reasoning", "reasoning", "item_done"),
        *("item_begun", "delta", "delta", "item_done"),
        *("item_begun", "item_done"),
        *("item_begun", "arguments", "item_done", "finished"),
    ]
    response = events[-1].finished
    assert output_of(response.output) == OUTPUT
    assert [event.item_done.item for event in events if event.HasField("item_done")] == list(response.output)
    assert [item.item_id.split("_")[0] for item in response.output] == ["rs", "msg", "rs", "fc"]
    assert await get(orchestrator, response.response_id) == response


async def test_a_whole_answer_has_the_same_items_in_one_piece_each(orchestrator: Orchestrator, fakes: Fakes) -> None:
    fakes.model.answers = [answer(*PIECES[:5])]
    events = await events_of(orchestrator, asking(options=GenerationOptions(whole=True)))
    assert kinds(events) == [
        *("created", "item_begun", "reasoning", "item_done", "item_begun", "delta", "item_done", "finished")
    ]
    response = events[-1].finished
    thought, text = output_of(response.output)
    assert text.text.phase == PHASE_FINAL_ANSWER
    text.text.ClearField("phase")
    assert [thought, text] == OUTPUT[:2]
    assert response.usage.total_tokens == 5
    assert await get(orchestrator, response.response_id) == response
    fakes.model.answers = [answer()]
    events = await events_of(orchestrator, asking(options=GenerationOptions(whole=True), background=True))
    assert kinds(events) == ["created", "finished"]
    assert events[-1].finished.state == pb.Response.STATE_COMPLETED


async def test_the_place_of_a_citation_counts_within_its_text(orchestrator: Orchestrator, fakes: Fakes) -> None:
    cited = Delta(citations=[Citation(url="a", start=6, end=8), Citation(url="b", start=1, end=3), Citation(url="c")])
    fakes.model.answers = [answer("Hello", refusing(" no."), cited)]
    output = (await create(orchestrator, asking())).output
    assert list(output[0].text.citations) == [Citation(url="b", start=1, end=3)]
    assert list(output[1].text.citations) == [Citation(url="a", start=1, end=3), Citation(url="c")]


async def test_the_next_response_gives_thoughts_back_in_one_message(orchestrator: Orchestrator, fakes: Fakes) -> None:
    fakes.model.answers = [answer(*PIECES), answer("Thanks.")]
    first = await create(orchestrator, asking("One"))
    second = await create(orchestrator, requesting(result(), previous_response_id=first.response_id))
    said = Text(text="Well, so.", citations=OUTPUT[1].text.citations)
    assert list(fakes.model.generated[1].messages) == [
        Message(role=ROLE_USER, content="One"),
        Message(
            role=ROLE_ASSISTANT,
            parts=[Part(reasoning=THOUGHT), Part(text=said), Part(reasoning=OUTPUT[2].reasoning)],
            tool_calls=[CALL],
        ),
        result(),
    ]
    items = (await listed(orchestrator, second.response_id)).items
    # Named by their ids, the items become the same messages.
    named = pb.CreateResponseRequest(input=[pb.ResponseInput(item_id=item.item_id) for item in items])
    await create(orchestrator, named)
    assert fakes.model.generated[2].messages == fakes.model.generated[1].messages


async def test_a_thought_that_a_client_repeats_with_its_id_has_what_is_stored_of_it(
    orchestrator: Orchestrator, fakes: Fakes
) -> None:
    fakes.model.answers = [answer(*PIECES), *(answer("Yes.") for _ in range(7))]
    first = await create(orchestrator, asking("One"))
    item_id, text_id, hidden_id, _ = (item.item_id for item in first.output)
    absent = item_id.replace(first.response_id.removeprefix("resp_"), "0" * 32)
    hidden = OUTPUT[2].reasoning
    same, other = Reasoning(text=THOUGHT.text), Reasoning(text="Other")
    for thought, repeated, expected in (
        (same, item_id, [THOUGHT]),
        (Reasoning(), hidden_id, [hidden]),
        # Another text, an item that is no thought, and items that are not stored.
        (other, item_id, [other]),
        (same, text_id, [same]),
        (same, absent, [same]),
        (same, "rs_0123", [same]),
        (Reasoning(), absent, []),
    ):
        repeating = requesting(Message(role=ROLE_ASSISTANT, parts=[Part(reasoning=thought)]))
        repeating.input[0].repeated_item_id = repeated
        repeating.input.extend(requesting(Message(role=ROLE_ASSISTANT, content="So."), USER).input)
        await create(orchestrator, repeating)
        said, asked = fakes.model.generated[-1].messages
        assert [part.reasoning for part in said.parts if part.HasField("reasoning")] == expected
        assert (text_of(said), asked) == ("So.", USER)


async def test_a_message_of_thoughts_a_picture_and_calls_is_listed_by_its_items(
    orchestrator: Orchestrator, fakes: Fakes
) -> None:
    parts = [Part(reasoning=THOUGHT), Part(text=Text(text="a")), Part(image=Media(url="https://a.example/b.png"))]
    request = requesting(Message(role=ROLE_ASSISTANT, content="x", parts=parts, tool_calls=[CALL]), result())
    response = await create(orchestrator, request)
    own = response.response_id.removeprefix("resp_")
    assert [(item.item_id, item.message) for item in (await listed(orchestrator, response.response_id)).items] == [
        (f"rs_{own}_i0_0", Message(role=ROLE_ASSISTANT, parts=parts[:1])),
        (f"msg_{own}_i0", Message(role=ROLE_ASSISTANT, content="x", parts=parts[1:])),
        (f"fc_{own}_i0_0", Message(role=ROLE_ASSISTANT, tool_calls=[CALL])),
        (f"fco_{own}_i1", result()),
    ]


async def test_items_that_follow_one_another_are_one_message(orchestrator: Orchestrator, fakes: Fakes) -> None:
    other = ToolCall(call_id="c2", name="ask", arguments="{}")
    await create(
        orchestrator,
        requesting(
            Message(role=ROLE_USER, content="One"),
            Message(role=ROLE_ASSISTANT, content="Hello."),
            Message(role=ROLE_ASSISTANT, content="Well,"),
            Message(role=ROLE_ASSISTANT, tool_calls=[CALL]),
            Message(role=ROLE_ASSISTANT, content=" so."),
            Message(role=ROLE_ASSISTANT, tool_calls=[other]),
            result("c2"),
            result("c1"),
        ),
    )
    assert list(fakes.model.generated[0].messages)[1:3] == [
        Message(role=ROLE_ASSISTANT, content="Hello."),
        Message(role=ROLE_ASSISTANT, content="Well, so.", tool_calls=[CALL, other]),
    ]


async def test_a_result_that_answers_no_call_is_refused(orchestrator: Orchestrator, fakes: Fakes) -> None:
    fakes.model.answers = [answer(PIECES[-1]), answer("Thanks.")]
    first = await create(orchestrator, asking("One"))
    error = await refusal(events_of(orchestrator, requesting(result("c2"), previous_response_id=first.response_id)))
    assert (error.code, error.reason) == (Code.INVALID_ARGUMENT, "TOOL_CALL_NOT_FOUND")
    assert error.facts.violations[0].field == "input"


async def test_calls_that_were_given_up_and_results_that_came_twice_are_left_out(
    orchestrator: Orchestrator, fakes: Fakes
) -> None:
    fakes.model.answers = [answer("Let me see.", PIECES[-1]), answer("Thanks.")]
    first = await create(orchestrator, asking("One"))
    await create(orchestrator, asking("Never mind.", previous_response_id=first.response_id))
    assert [(m.content, len(m.tool_calls)) for m in fakes.model.generated[1].messages] == [
        ("One", 0),
        ("Let me see.", 0),
        ("Never mind.", 0),
    ]
    await create(orchestrator, requesting(result(), result(), previous_response_id=first.response_id))
    assert [m.role for m in fakes.model.generated[2].messages] == [ROLE_USER, ROLE_ASSISTANT, ROLE_TOOL]


async def test_results_of_a_conversations_calls_are_taken(orchestrator: Orchestrator, fakes: Fakes) -> None:
    fakes.model.answers = [answer(PIECES[-1]), answer("Thanks.")]
    await create(orchestrator, asking("One", conversation_id="c"))
    await create(orchestrator, requesting(result(), conversation_id="c"))
    assert list(fakes.model.generated[1].messages)[-1] == result()


async def test_a_chain_of_too_many_messages_is_refused(orchestrator: Orchestrator) -> None:
    many = [Message(role=ROLE_USER, content="x")] * 2_100
    first = await create(orchestrator, requesting(*many))
    error = await refusal(events_of(orchestrator, requesting(*many, previous_response_id=first.response_id)))
    assert (error.code, error.facts.violations[0].field) == (Code.INVALID_ARGUMENT, "settings.previous_response_id")
    assert "at most 4094" in error.message


async def owners(orchestrator: Orchestrator) -> list[str]:
    """For whom bytes are kept."""
    return [row["owner"] for row in await orchestrator.pool.fetch("SELECT owner FROM mesh.blob_reference")]


def showing(**settings: object) -> pb.CreateResponseRequest:
    """A request with a picture."""
    part = Part(image=Media(data=BYTES, media_type="image/png"))
    return requesting(Message(role=ROLE_USER, content="What is this?", parts=[part]), **settings)


@pytest.mark.parametrize("background", [False, True])
async def test_the_bytes_of_an_input_are_kept_with_the_response(
    orchestrator: Orchestrator, fakes: Fakes, background: bool
) -> None:
    first = await create(orchestrator, showing(background=background))
    shown = Message(role=ROLE_USER, content="What is this?", parts=[PICTURE])
    assert list(fakes.model.generated[0].messages) == [shown]
    assert await owners(orchestrator) == [f"response:{first.response_id}"]
    assert await orchestrator.blobs.read("acme", HASH) == BYTES
    assert (await listed(orchestrator, first.response_id)).items[0].message == shown
    # An item that the next response names is kept for that response too.
    item = (await listed(orchestrator, first.response_id)).items[0].item_id
    named = pb.CreateResponseRequest(input=[pb.ResponseInput(item_id=item)])
    second = await create(orchestrator, named)
    for response in (first, second):
        assert await orchestrator.blobs.read("acme", HASH) == BYTES
        with run_as(SOMEBODY):
            await orchestrator.responses.DeleteResponse(pb.DeleteResponseRequest(response_id=response.response_id))
    with pytest.raises(NotFound):
        await orchestrator.blobs.read("acme", HASH)


async def test_the_bytes_of_a_response_that_is_not_stored_are_not_kept(orchestrator: Orchestrator) -> None:
    await create(orchestrator, showing(store=False))
    assert await owners(orchestrator) == []


async def test_an_input_with_bytes_that_the_tenant_does_not_have_makes_no_response(
    orchestrator: Orchestrator,
) -> None:
    request = requesting(Message(role=ROLE_USER, parts=[PICTURE]), background=True)
    assert (await refusal(events_of(orchestrator, request))).reason == "MEDIA_NOT_FOUND"
    assert await orchestrator.pool.fetchval("SELECT count(*) FROM orchestrator.response") == 0


async def test_bytes_go_with_responses_that_are_forgotten(
    database: "OwnedDatabase", redis: aioredis.Redis, fakes: Fakes
) -> None:
    async with serving(database, redis, fakes) as orchestrator:
        await create(orchestrator, showing())
        assert await owners(orchestrator)
    await database.execute("UPDATE orchestrator.response SET create_time = create_time - interval '1 day'")
    async with serving(database, redis, fakes, responses_kept_days=0.9) as other:

        async def gone() -> bool:
            return not await owners(other)

        await until(gone)
