"""Decisions of policy, asked for or met on the way."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from soma.orchestrator.v1.chat_service_pb2 import PolicyNotice
from soma.policy.v1 import policy_service_pb2 as policy

from somamesh.calls import Call, unary
from somamesh.json_values import to_struct

DECISIONS: dict[int, str] = {
    policy.DECISION_ALLOW: "allow",
    policy.DECISION_DENY: "deny",
    policy.DECISION_REDACT: "redact",
    policy.DECISION_REQUIRE_APPROVAL: "require_approval",
}


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule that applied, what it alone would have decided, and why."""

    id: str
    decision: str
    reason: str


@dataclass(frozen=True, slots=True)
class Finding:
    """A span of the content, in characters, and the kind of thing it is, such as `email`."""

    kind: str
    start: int
    end: int
    rule: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """A decision, and what led to it.

    Attributes:
        decision: `allow`, `deny`, `redact` or `require_approval`.
        rules: those that applied, strictest first.
        redacted_content: the content with its findings replaced, where the decision is `redact`.
        risk: 0 (none) to 1.
        rules_version: of the rules that decided.
    """

    decision: str
    rules: tuple[Rule, ...]
    findings: tuple[Finding, ...]
    redacted_content: str
    risk: float
    rules_version: str

    @property
    def allowed(self) -> bool:
        """Whether it may happen as it is."""
        return self.decision == "allow"


@dataclass(frozen=True, slots=True)
class Notice:
    """What policy did to a turn; `stage` is `input` or `output`."""

    stage: str
    decision: str
    rules: tuple[Rule, ...]


def evaluate_policy(
    action: str,
    *,
    content: str = "",
    resource: str = "",
    context: Mapping[str, Any] | None = None,
    timeout: float | None = None,
) -> Call[Verdict]:
    """Ask policy about an action before it is taken, such as `chat.input` or `tool.execute`.

    Args:
        content: text to inspect.
        resource: what it happens to, such as `model:soma-extract-v1`.
        context: facts for rules that apply only where one of them has certain values (`when`).
    """
    request = policy.EvaluateRequest(action=action, content=content, resource=resource)
    if context:
        request.context.CopyFrom(to_struct(context))
    return unary(lambda mesh: mesh.policy.Evaluate, request, _verdict, repeatable=True, timeout=timeout)


def from_notice(notice: PolicyNotice) -> Notice:
    """A notice of a turn's stream."""
    return Notice(notice.stage, DECISIONS.get(notice.decision, ""), _rules(notice.matched_rules))


def _verdict(response: policy.EvaluateResponse) -> Verdict:
    return Verdict(
        decision=DECISIONS.get(response.decision, ""),
        rules=_rules(response.matched_rules),
        findings=tuple(Finding(each.kind, each.start, each.end, each.rule_id) for each in response.findings),
        redacted_content=response.redacted_content,
        risk=response.risk,
        rules_version=response.rules_version,
    )


def _rules(matched: Sequence[policy.MatchedRule]) -> tuple[Rule, ...]:
    return tuple(Rule(each.rule_id, DECISIONS.get(each.decision, ""), each.reason) for each in matched)
