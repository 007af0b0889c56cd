"""A fake of the policy service: rules that look for a text."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from soma.policy.v1 import policy_service_pb2 as pb
from soma.policy.v1 import policy_service_pb2_grpc as rpc

from tests.fakes.fake import Fake

_STRICTEST_FIRST = (pb.DECISION_DENY, pb.DECISION_REQUIRE_APPROVAL, pb.DECISION_REDACT)


@dataclass(frozen=True)
class Rule:
    """What is decided on content that has `text` in it, of one action or, where that is empty, of any."""

    text: str
    decision: pb.Decision.ValueType
    action: str = ""
    rule_id: str = "text"

    def matches(self, request: pb.EvaluateRequest) -> bool:
        """Whether the rule applies to what is asked."""
        return self.action in ("", request.action) and any(self.text in content for content in _texts(request))

    def findings(self, request: pb.EvaluateRequest) -> Iterator[pb.Finding]:
        """Every place of the text."""
        for index, content in enumerate(_texts(request)):
            start = content.find(self.text)
            while start >= 0:
                end = start + len(self.text)
                yield pb.Finding(kind="text", start=start, end=end, rule_id=self.rule_id, content_index=index)
                start = content.find(self.text, end)


class FakePolicy(Fake, rpc.PolicyServiceServicer):
    """Decides by its rules; what none matches is allowed. Calls are noted by their action."""

    def __init__(self, happened: list[str] | None = None) -> None:
        super().__init__(happened)
        self.rules: list[Rule] = []

    async def Evaluate(self, request: pb.EvaluateRequest, context: Any) -> pb.EvaluateResponse:
        await self.meet(request.action)
        matched = [rule for rule in self.rules if rule.matches(request)]
        matched.sort(key=lambda rule: _STRICTEST_FIRST.index(rule.decision))
        response = pb.EvaluateResponse(
            decision=matched[0].decision if matched else pb.DECISION_ALLOW,
            findings=[finding for rule in matched for finding in rule.findings(request)],
            risk=1.0 if matched else 0.0,
            rules_version=str(len(self.rules)),
            unconditional=not any(rule.action in ("", request.action) for rule in self.rules),
        )
        for rule in matched:
            response.matched_rules.add(rule_id=rule.rule_id, decision=rule.decision, reason=f"it says {rule.text}")
        if response.decision == pb.DECISION_REDACT:
            response.redacted_content = _redacted(request.content, matched)
            response.redacted_contents.extend(_redacted(content, matched) for content in request.contents)
        return response


def _texts(request: pb.EvaluateRequest) -> list[str]:
    return [request.content, *request.contents] if request.content else list(request.contents)


def _redacted(content: str, rules: list[Rule]) -> str:
    for rule in rules:
        content = content.replace(rule.text, "[REDACTED]")
    return content
