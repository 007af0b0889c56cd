"""Conversations in a shorter form: what stays, what a summary replaces, and who can read it."""

from collections.abc import Sequence
from typing import Any

import pytest
from soma.model.v1 import message_pb2
from soma.model.v1.message_pb2 import (
    ROLE_ASSISTANT,
    ROLE_SYSTEM,
    ROLE_TOOL,
    ROLE_USER,
    Media,
    Message,
    Part,
    Reasoning,
    ToolCall,
)
from soma.orchestrator.v1 import response_service_pb2 as pb
from soma.policy.v1.policy_service_pb2 import DECISION_DENY

from services.mesh.call.call import run_as
from services.mesh.call.errors import Code, MeshError
from services.mesh.call.principal import Principal
from services.mesh.testing.local import SOMEBODY
from services.messages.message import text_of
from tests.fakes.model import answer, refusing
from tests.fakes.policy import Rule
from tests.orchestrator.conftest import Fakes, Orchestrator
from tests.orchestrator.responses.test_responses import STRANGER, asking, create, listed, refusal

SUMMARY = "Ada wants an oak shelf. It was priced at 400."
SYSTEM = Message(role=ROLE_SYSTEM, content="You sell shelves.")
PICTURE = Part(image=Media(url="https://a.example/oak.png"))
ASKED = Message(role=ROLE_USER, content="I want this:", parts=[PICTURE])
CALL = ToolCall(call_id="c1", name="price", arguments='{"wood":"oak"}')
THOUGHT = Part(reasoning=Reasoning(text="A private thought.", signature="sig"))
CALLED = Message(role=ROLE_ASSISTANT, content="Let me look.", parts=[THOUGHT], tool_calls=[CALL])
RESULT = Message(role=ROLE_TOOL, tool_call_id="c1", content="400")
TOLD = Message(role=ROLE_ASSISTANT, content="It costs 400.")
TALK = (SYSTEM, ASKED, CALLED, RESULT, TOLD)


def inputs(messages: Sequence[Message]) -> list[pb.ResponseInput]:
    return [pb.ResponseInput(message=each) for each in messages]


async def compact(
    orchestrator: Orchestrator, *messages: Message, who: Principal = SOMEBODY, **members: Any
) -> pb.CompactResponseResponse:
    request = pb.CompactResponseRequest(input=inputs(messages), **members)
    with run_as(who):
        return await orchestrator.responses.CompactResponse(request)


async def failed(orchestrator: Orchestrator, *messages: Message, **members: Any) -> MeshError:
    return await refusal(compact(orchestrator, *messages, **members))


def continued(compaction: str, *messages: Message) -> pb.CreateResponseRequest:
    return pb.CreateResponseRequest(input=[pb.ResponseInput(compaction=compaction), *inputs(messages)])


async def test_the_users_messages_stay_and_a_summary_replaces_everything_else(
    orchestrator: Orchestrator, fakes: Fakes
) -> None:
    fakes.model.answers = [answer(SUMMARY)]
    made = await compact(orchestrator, *TALK, instructions="Keep the prices.")
    assert [item.message for item in made.items] == [SYSTEM, ASKED]
    # A thought, a text, a call, its result, and another text.
    assert made.compaction.replaced_items == 5
    assert (made.model, made.usage.total_tokens) == ("scripted", 5)
    (asked,) = fakes.model.generated
    assert "Keep the prices." in asked.messages[0].content
    shown = text_of(asked.messages[1])
    assert [text in shown for text in ("You sell shelves.", "[a picture]", '{"wood":"oak"}', "400")] == [True] * 4
    assert "private" not in shown
    assert not asked.options.tools and asked.options.whole
    assert fakes.happened == ["chat.input", "generate", "chat.output"]


async def test_a_compaction_is_what_the_assistant_knows_of_the_conversation(
    orchestrator: Orchestrator, fakes: Fakes
) -> None:
    fakes.model.answers = [answer(SUMMARY), answer("Yes.")]
    made = await compact(orchestrator, *TALK)
    assert SUMMARY not in made.compaction.encrypted_content
    more = Message(role=ROLE_USER, content="And in pine?")
    sealed = pb.ResponseInput(compaction=made.compaction.encrypted_content)
    window = [*inputs([item.message for item in made.items]), sealed, *inputs([more])]
    request = pb.CreateResponseRequest(input=window)
    response = await create(orchestrator, request)
    told = fakes.model.generated[-1].messages
    assert list(told[:2]) == [SYSTEM, ASKED]
    assert (told[2].role, told[3]) == (ROLE_ASSISTANT, more)
    assert told[2].content.endswith(SUMMARY) and " 5 earlier items" in told[2].content
    # The response keeps it as it was sent, and what continues the response has it too.
    items = (await listed(orchestrator, response.response_id)).items
    assert [item.compaction for item in items if item.compaction] == [made.compaction.encrypted_content]
    onward = asking("On", previous_response_id=response.response_id)
    onward.input.insert(0, pb.ResponseInput(item_id=items[2].item_id))
    await create(orchestrator, onward)
    assert [SUMMARY in each.content for each in fakes.model.generated[-1].messages].count(True) == 2


async def test_a_conversation_that_was_compacted_is_compacted_again(orchestrator: Orchestrator, fakes: Fakes) -> None:
    fakes.model.answers = [answer(SUMMARY), answer("Yes."), answer("Shorter.")]
    made = await compact(orchestrator, *TALK)
    response = await create(orchestrator, continued(made.compaction.encrypted_content, ASKED))
    again = await compact(orchestrator, previous_response_id=response.response_id)
    # The compaction and the answer.
    assert (len(again.items), again.compaction.replaced_items) == (1, 2)
    assert SUMMARY in text_of(fakes.model.generated[-1].messages[1])
    assert (await refusal(create(orchestrator, asking(previous_response_id=again.compaction_id)))).reason == (
        "PREVIOUS_RESPONSE_NOT_FOUND"
    )


async def test_only_the_tenant_it_was_made_for_can_use_a_compaction_and_only_unchanged(
    orchestrator: Orchestrator, fakes: Fakes
) -> None:
    sealed = (await compact(orchestrator, *TALK)).compaction.encrypted_content
    changed = sealed[:-2] + ("AA" if not sealed.endswith("AA") else "BB")
    for text in (changed, sealed[:40], sealed[:14], "gAAAAB", "ж"):
        error = await refusal(create(orchestrator, continued(text, ASKED)))
        assert (error.code, error.reason) == (Code.INVALID_ARGUMENT, "COMPACTION_INVALID")
        assert error.facts.violations[0].field == "input"
    with run_as(STRANGER):
        error = await refusal(anext(aiter(orchestrator.responses.CreateResponse(continued(sealed, ASKED)))))
    assert error.reason == "COMPACTION_INVALID"
    assert len(fakes.model.generated) == 1


async def test_policy_checks_what_is_summed_up_and_the_summary(orchestrator: Orchestrator, fakes: Fakes) -> None:
    fakes.policy.rules = [Rule("400", DECISION_DENY, "chat.input")]
    assert (await failed(orchestrator, *TALK)).reason == "POLICY_DENIED"
    assert fakes.model.generated == []
    fakes.policy.rules = [Rule("oak shelf", DECISION_DENY, "chat.output")]
    fakes.model.answers = [answer(SUMMARY)]
    assert (await failed(orchestrator, *TALK)).reason == "POLICY_DENIED"


@pytest.mark.parametrize(
    "said",
    [answer("Half a", end=message_pb2.FINISH_REASON_LENGTH), answer(" \n"), answer(refusing("I cannot."))],
    ids=["cut short", "blank", "refused"],
)
async def test_what_is_not_a_whole_summary_replaces_nothing(
    orchestrator: Orchestrator, fakes: Fakes, said: Any
) -> None:
    fakes.model.answers = [said]
    error = await failed(orchestrator, *TALK)
    assert (error.code, error.reason) == (Code.INTERNAL, "OUTPUT_INVALID")


async def test_a_request_without_a_conversation_is_refused(orchestrator: Orchestrator) -> None:
    error = await failed(orchestrator)
    assert (error.code, error.facts.violations[0].field) == (Code.INVALID_ARGUMENT, "input")


async def test_a_long_conversation_is_shown_whole(orchestrator: Orchestrator, fakes: Fakes) -> None:
    talk = [Message(role=ROLE_USER, content=f"Question {number}.") for number in range(3000)]
    made = await compact(orchestrator, *talk, TOLD)
    assert (len(made.items), made.compaction.replaced_items) == (3000, 1)
    shown = fakes.model.generated[-1].messages[1]
    assert len(shown.parts) <= 1024
    assert all(f"Question {number}." in text_of(shown) for number in (0, 1500, 2999))


async def test_the_tokens_of_a_response_are_counted_with_what_comes_before_it(
    orchestrator: Orchestrator, fakes: Fakes
) -> None:
    first = await create(orchestrator, asking("One"))
    settings = pb.ResponseSettings(previous_response_id=first.response_id, instructions="Be brief.")
    with run_as(SOMEBODY):
        counted = await orchestrator.responses.CountResponseTokens(
            pb.CountResponseTokensRequest(input=inputs([ASKED]), settings=settings)
        )
    assert (counted.input_tokens, counted.estimated, counted.model) == (7, True, "scripted")
    assert [text_of(each) for each in fakes.model.counted[-1].messages] == [
        "Be brief.",
        "One",
        "Hello there",
        "I want this:",
    ]
    assert len(fakes.model.generated) == 1
    fakes.policy.rules = [Rule("want", DECISION_DENY, "chat.input")]
    with run_as(SOMEBODY):
        asked = pb.CountResponseTokensRequest(input=inputs([ASKED]))
        assert (await refusal(orchestrator.responses.CountResponseTokens(asked))).reason == "POLICY_DENIED"
        nothing = await refusal(orchestrator.responses.CountResponseTokens(pb.CountResponseTokensRequest()))
    assert nothing.facts.violations[0].field == "input"
    assert len(fakes.model.counted) == 1
