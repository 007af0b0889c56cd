"""Decisions of policy, asked for or met on the way."""

from collections.abc import Sequence
from dataclasses import dataclass

from soma.orchestrator.v1.chat_service_pb2 import PolicyNotice
from soma.policy.v1 import policy_service_pb2 as policy

from somamesh.enums import enum_word


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


def from_notice(notice: PolicyNotice) -> Notice:
    """A notice of a turn's stream."""
    return Notice(notice.stage, enum_word(policy.Decision, notice.decision), _rules(notice.matched_rules))


def decided(response: policy.EvaluateResponse) -> Verdict:
    """A decision, and what led to it."""
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
