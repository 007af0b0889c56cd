"""What each text is in its answer, and which item of an answer that ended early is not complete."""

from typing import Any

import pytest
from soma.model.v1 import message_pb2
from soma.model.v1.message_pb2 import PHASE_COMMENTARY, PHASE_FINAL_ANSWER, PHASE_UNSPECIFIED, ReasoningDelta
from soma.orchestrator.v1 import response_service_pb2 as pb

from services.mesh.call.call import run_as
from services.mesh.testing.local import SOMEBODY
from tests.fakes.model import answer, lost
from tests.orchestrator.conftest import Fakes, Orchestrator
from tests.orchestrator.responses.test_responses import asking, create, events_of, get, listed, refusal

LOOK = message_pb2.ToolCallDelta(index=0, call_id="c0", name="look", arguments="{}")
LENGTH, CALLS = message_pb2.FINISH_REASON_LENGTH, message_pb2.FINISH_REASON_TOOL_CALLS


@pytest.mark.parametrize(
    ("said", "phases"),
    [
        (answer("Yes."), [PHASE_FINAL_ANSWER]),
        (answer("Let me see.", LOOK, end=CALLS), [PHASE_COMMENTARY, None]),
        (answer("Let me see.", LOOK, "Seen."), [PHASE_COMMENTARY, None, PHASE_FINAL_ANSWER]),
        (answer("Half a", end=LENGTH), [PHASE_UNSPECIFIED]),
        # Some providers sign a thought after the text, so a thought says nothing about the text before it.
        (answer("Yes.", ReasoningDelta(redacted="xx")), [PHASE_UNSPECIFIED, None]),
    ],
    ids=["answer", "call", "call between texts", "cut short", "thought behind"],
)
@pytest.mark.parametrize("whole", [False, True], ids=["streamed", "whole"])
async def test_a_text_before_a_call_is_commentary_and_the_last_one_the_answer(
    orchestrator: Orchestrator, fakes: Fakes, said: Any, phases: list[Any], whole: bool
) -> None:
    if whole and len(phases) == 3:
        pytest.skip("an answer in one piece has one text, before its calls")
    fakes.model.answers = [said]
    request = asking()
    request.settings.options.whole = whole
    events = await events_of(orchestrator, request)
    output = events[-1].finished.output
    if whole and len(phases) == 2 and phases[0] == PHASE_UNSPECIFIED:
        # In one piece, thoughts come first.
        phases = [None, PHASE_FINAL_ANSWER]
    assert [item.text.phase if item.HasField("text") else None for item in output] == phases
    assert [event.item_done.item for event in events if event.HasField("item_done")] == list(output)
    begun = [event.item_begun.item for event in events if event.HasField("item_begun")]
    assert {item.text.phase for item in begun} == {PHASE_UNSPECIFIED}


async def test_a_phase_is_kept_with_its_message_and_given_back(orchestrator: Orchestrator, fakes: Fakes) -> None:
    fakes.model.answers = [answer("Let me see.", LOOK, end=CALLS), answer("Yes.")]
    said = message_pb2.Message(role=message_pb2.ROLE_ASSISTANT, content="Hm.", phase=PHASE_COMMENTARY)
    request = asking()
    request.input.insert(0, pb.ResponseInput(message=said))
    first = await create(orchestrator, request)
    result = message_pb2.Message(role=message_pb2.ROLE_TOOL, tool_call_id="c0", content="42")
    onward = asking(previous_response_id=first.response_id)
    onward.input.insert(0, pb.ResponseInput(message=result))
    second = await create(orchestrator, onward)
    items = (await listed(orchestrator, second.response_id)).items
    spoken = [item.message.phase for item in items if item.message.content and not item.message.tool_call_id]
    assert spoken == [PHASE_COMMENTARY, PHASE_UNSPECIFIED, PHASE_COMMENTARY, PHASE_UNSPECIFIED]


@pytest.mark.parametrize("end", [LENGTH, message_pb2.FINISH_REASON_CONTENT_FILTER])
async def test_only_the_last_item_of_an_answer_that_was_cut_short_is_incomplete(
    orchestrator: Orchestrator, fakes: Fakes, end: Any
) -> None:
    half = message_pb2.ToolCallDelta(index=0, call_id="c0", name="look", arguments='{"a":')
    fakes.model.answers = [answer("Let me see.", half, end=end)]
    events = await events_of(orchestrator, asking())
    output = events[-1].finished.output
    assert [item.incomplete for item in output] == [False, True]
    assert [event.item_done.item for event in events if event.HasField("item_done")] == list(output)


async def test_the_item_at_which_an_answer_failed_is_incomplete(orchestrator: Orchestrator, fakes: Fakes) -> None:
    fakes.model.answers = [answer(ReasoningDelta(text="Hm."), "Half a", end=lost())]
    seen: list[str] = []

    async def read() -> None:
        with run_as(SOMEBODY):
            async for event in orchestrator.responses.CreateResponse(asking()):
                if event.HasField("created"):
                    seen.append(event.created.response_id)

    await refusal(read())
    assert [item.incomplete for item in (await get(orchestrator, seen[0])).output] == [False, True]
