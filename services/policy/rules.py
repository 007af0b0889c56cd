"""Rules and decisions: the strictest rule that matches decides."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from fnmatch import fnmatchcase
from functools import lru_cache

from services.policy.condition import Condition, Facts
from services.policy.detectors import Detector, Span


class Decision(IntEnum):
    """The decisions of policy, from the mildest to the strictest."""

    ALLOW = 1
    REDACT = 2
    REQUIRE_APPROVAL = 3
    DENY = 4


@dataclass(frozen=True, slots=True)
class Question:
    """An action to decide on: names of `action` and `resource`, the actor's scopes, a text to inspect, and facts."""

    action: str
    resource: str
    scopes: frozenset[str]
    content: str
    facts: Facts = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Finding:
    """A span of the content (code points, without the end) that a rule matched."""

    kind: str
    start: int
    end: int
    rule_id: str


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule.

    It applies if the action and the resource match a shell-style pattern, the actor does not have `unless_scope`, the
    facts meet every condition of `when`, and the detector, if there is one, finds something in the content.
    """

    id: str
    decision: Decision
    reason: str
    actions: tuple[str, ...] = ("*",)
    resources: tuple[str, ...] = ("*",)
    unless_scope: str = ""
    when: tuple[Condition, ...] = ()
    kind: str = ""
    detector: Detector | None = None
    risk: float = 0.0

    def concerns(self, action: str, resource: str) -> bool:
        """Whether the patterns match this action and this resource."""
        return _any(self.actions, action) and _any(self.resources, resource)


@dataclass(frozen=True, slots=True)
class Verdict:
    """The decision, the rules that matched (strictest first), and the findings."""

    decision: Decision
    rules: tuple[Rule, ...] = ()
    findings: tuple[Finding, ...] = ()
    redacted: str = ""
    risk: float = 0.0


class RuleSet:
    """Rules with a version. It is immutable, so a decision uses one version from beginning to end."""

    def __init__(self, rules: Sequence[Rule], version: str) -> None:
        self.rules = tuple(rules)
        self.version = version
        self._concerned = lru_cache(maxsize=4096)(self._select)

    def _select(self, action: str, resource: str) -> tuple[Rule, ...]:
        return tuple(rule for rule in self.rules if rule.concerns(action, resource))

    def decide(self, question: Question) -> Verdict:
        """Evaluate every rule for the action and the resource of the question.

        Args:
            question: the action to decide on; its content may be empty.
        """
        matched: list[Rule] = []
        findings: list[Finding] = []
        redact: list[Span] = []
        kinds: dict[Span, str] = {}
        for rule in self._concerned(question.action, question.resource):
            if rule.unless_scope and not question.scopes.isdisjoint({rule.unless_scope, "*"}):
                continue
            if not all(condition.holds(question.facts) for condition in rule.when):
                continue
            if rule.detector is None:
                matched.append(rule)
                continue
            spans = list(rule.detector(question.content)) if question.content else []
            if not spans:
                continue
            matched.append(rule)
            findings += [Finding(rule.kind, start, end, rule.id) for start, end in spans]
            if rule.decision is Decision.REDACT:
                redact += spans
                kinds.update(dict.fromkeys(spans, rule.kind))
        if not matched:
            return _ALLOW
        matched.sort(key=lambda rule: -rule.decision)
        decision = matched[0].decision
        return Verdict(
            decision=decision,
            rules=tuple(matched),
            findings=tuple(sorted(findings, key=lambda finding: (finding.start, finding.end))),
            redacted=_redacted(question.content, redact, kinds) if decision is Decision.REDACT else "",
            risk=max(rule.risk for rule in matched),
        )


_ALLOW = Verdict(Decision.ALLOW)


def _any(patterns: Iterable[str], name: str) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _redacted(content: str, spans: Iterable[Span], kinds: dict[Span, str]) -> str:
    """The content with each span replaced by `[REDACTED_KIND]`; overlapping spans are merged."""
    pieces: list[str] = []
    done = 0
    for start, end in sorted(spans):
        if start >= done:
            pieces += (content[done:start], f"[REDACTED_{kinds[start, end].upper()}]")
        done = max(done, end)
    return "".join((*pieces, content[done:]))
