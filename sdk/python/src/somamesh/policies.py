"""Decisions of policy: those that were asked for, and those about a turn."""

from collections.abc import Sequence
from dataclasses import dataclass

from soma.orchestrator.v1.chat_service_pb2 import PolicyNotice
from soma.policy.v1 import policy_service_pb2 as policy

from somamesh.enums import enum_word


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule that applied, its own decision, and the reason."""

    id: str
    decision: str
    reason: str


@dataclass(frozen=True, slots=True)
class Finding:
    """A span of the content, in characters, and what it holds, such as `email`."""

    kind: str
    start: int
    end: int
    rule: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """A decision, with the rules and findings that led to it.

    Attributes:
        decision: `allow`, `deny`, `redact` or `require_approval`.
        rules: the rules that applied, strictest first.
        redacted_content: the content with its findings replaced, when the decision is `redact`.
        risk: 0 (none) to 1.
        rules_version: version of the rules.
    """

    decision: str
    rules: tuple[Rule, ...]
    findings: tuple[Finding, ...]
    redacted_content: str
    risk: float
    rules_version: str

    @property
    def allowed(self) -> bool:
        """Whether the content may pass unchanged."""
        return self.decision == "allow"


@dataclass(frozen=True, slots=True)
class Notice:
    """A decision of policy about a turn; `stage` is `input` or `output`."""

    stage: str
    decision: str
    rules: tuple[Rule, ...]


def from_notice(notice: PolicyNotice) -> Notice:
    """Convert a policy event of a turn."""
    return Notice(notice.stage, enum_word(policy.Decision, notice.decision), _rules(notice.matched_rules))


def from_evaluate(response: policy.EvaluateResponse) -> Verdict:
    """Convert a decision."""
    return Verdict(
        decision=enum_word(policy.Decision, response.decision),
        rules=_rules(response.matched_rules),
        findings=tuple(Finding(each.kind, each.start, each.end, each.rule_id) for each in response.findings),
        redacted_content=response.redacted_content,
        risk=response.risk,
        rules_version=response.rules_version,
    )


def _rules(matched: Sequence[policy.MatchedRule]) -> tuple[Rule, ...]:
    return tuple(Rule(each.rule_id, enum_word(policy.Decision, each.decision), each.reason) for each in matched)
