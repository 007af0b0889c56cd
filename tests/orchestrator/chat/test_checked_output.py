"""Pieces of an output: what policy changes in them, and what goes with a changed text."""

from dataclasses import dataclass, field
from typing import Any

import pytest
from soma.model.v1.message_pb2 import Citation, Delta, ReasoningDelta, TokenLogprob, ToolCallDelta
from soma.policy.v1.policy_service_pb2 import (
    DECISION_DENY,
    DECISION_REDACT,
    DECISION_REQUIRE_APPROVAL,
    Decision,
    EvaluateRequest,
    EvaluateResponse,
)

from services.orchestrator.adapters.policy import Policy
from services.orchestrator.chat.checked_output import CheckedOutput
from tests.fakes.policy import FakePolicy, Rule


@dataclass
class Asked:
    """A fake of policy that notes what it is asked; it stands for the service's stub."""

    fake: FakePolicy = field(default_factory=FakePolicy)
    requests: list[EvaluateRequest] = field(default_factory=list)

    async def Evaluate(self, request: EvaluateRequest) -> EvaluateResponse:
        """Note the request, and decide by the rules."""
        self.requests.append(request)
        return await self.fake.Evaluate(request, None)

    def output(self, *rules: Rule) -> CheckedOutput:
        """The output of a turn under these rules."""
        self.fake.rules = list(rules)
        stub: Any = self
        output = CheckedOutput(Policy(stub))
        output.resource = "model:m"
        return output


@pytest.fixture
def asked() -> Asked:
    """Nothing yet."""
    return Asked()


SECRET = Rule("4111", DECISION_REDACT)


async def test_one_question_has_every_text_of_a_piece(asked: Asked) -> None:
    piece = Delta(
        reasoning=[ReasoningDelta(text="a", details="b", signature="s", redacted="r")],
        text="c",
        citations=[Citation(url="u", title="d", quote="e", details="f")],
        tool_calls=[ToolCallDelta(call_id="c1", name="look", arguments="g")],
    )
    delta, decision = await asked.output(SECRET).check(piece)
    assert delta is piece
    assert decision is None
    (request,) = asked.requests
    assert (request.action, request.resource, request.content) == ("chat.output", "model:m", "")
    assert list(request.contents) == ["a", "b", "c", "d", "e", "f", "g"]


async def test_a_piece_without_texts_is_not_asked_about(asked: Asked) -> None:
    piece = Delta(reasoning=[ReasoningDelta(signature="s")], tool_calls=[ToolCallDelta(call_id="c1", name="look")])
    assert await asked.output(SECRET).check(piece) == (piece, None)
    assert asked.requests == []


async def test_only_the_texts_with_findings_are_changed(asked: Asked) -> None:
    piece = Delta(
        text="ok",
        reasoning=[ReasoningDelta(text="it is 4111"), ReasoningDelta(index=1, text="so", signature="s")],
        tool_calls=[ToolCallDelta(call_id="c1", name="look", arguments='{"n":4111}')],
        citations=[Citation(url="u", quote="has 4111", details='{"q":"has 4111"}', start=0, end=2)],
        logprobs=[TokenLogprob(token="ok", logprob=-1)],
    )
    delta, decision = await asked.output(SECRET).check(piece)
    assert decision is not None
    assert decision.decision == DECISION_REDACT
    assert delta == Delta(
        text="ok",
        reasoning=[ReasoningDelta(text="it is [REDACTED]"), ReasoningDelta(index=1, text="so", signature="s")],
        tool_calls=[ToolCallDelta(call_id="c1", name="look", arguments='{"n":[REDACTED]}')],
        citations=[Citation(url="u", quote="has [REDACTED]", start=0, end=2)],
        logprobs=[TokenLogprob(token="ok", logprob=-1)],
    )
    assert piece.reasoning[0].text == "it is 4111"


async def test_a_changed_thought_has_no_signature_in_any_later_piece(asked: Asked) -> None:
    output = asked.output(SECRET)
    await output.check(Delta(reasoning=[ReasoningDelta(index=1, text="4111")]))
    delta, _ = await output.check(
        Delta(reasoning=[ReasoningDelta(index=1, signature="s", details="{}"), ReasoningDelta(index=2, signature="t")])
    )
    assert delta == Delta(reasoning=[ReasoningDelta(index=1), ReasoningDelta(index=2, signature="t")])


async def test_a_changed_text_has_no_logprobs_and_no_places_of_citations(asked: Asked) -> None:
    output = asked.output(SECRET)
    delta, _ = await output.check(Delta(text="is 4111", logprobs=[TokenLogprob(token="is", logprob=-1)]))
    assert delta == Delta(text="is [REDACTED]")
    delta, _ = await output.check(Delta(text=" so", citations=[Citation(url="u", start=0, end=7)]))
    assert delta == Delta(text=" so", citations=[Citation(url="u")])


@pytest.mark.parametrize("strict", [DECISION_DENY, DECISION_REQUIRE_APPROVAL])
async def test_a_piece_that_policy_does_not_allow_is_withheld(asked: Asked, strict: Decision.ValueType) -> None:
    piece = Delta(text="fine", reasoning=[ReasoningDelta(text="4111")])
    delta, decision = await asked.output(Rule("4111", strict)).check(piece)
    assert delta is None
    assert decision is not None
    assert decision.decision == strict


async def test_policy_is_asked_once_if_no_rule_concerns_the_output(asked: Asked) -> None:
    output = asked.output(Rule("4111", DECISION_DENY, "chat.input"))
    for text in ("4111", "4111"):
        assert await output.check(Delta(text=text)) == (Delta(text=text), None)
    assert len(asked.requests) == 1
