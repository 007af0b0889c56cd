"""Rules and decisions: the strictest rule that matches decides."""

from collections.abc import Iterable, Mapping, Sequence
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
    """An action to decide on: names of `action` and `resource`, the actor's scopes, texts to inspect, and facts."""

    action: str
    resource: str
    scopes: frozenset[str]
    texts: Sequence[str]
    facts: Facts = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Finding:
    """A span of a text (code points, without the end) that a rule matched; `text` is the position of the text."""

    kind: str
    start: int
    end: int
    rule_id: str
    text: int = 0


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule.

    It applies if the action and the resource match a shell-style pattern, the actor does not have `unless_scope`, the
    facts meet every condition of `when`, and the detector, if there is one, finds something in a text.
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
    """The decision, the rules that matched (strictest first), and the findings.

    Attributes:
        redacted: the texts with their findings replaced; empty unless the decision is REDACT.
        unconditional: whether the decision is ALLOW whatever the texts are.
    """

    decision: Decision
    rules: tuple[Rule, ...] = ()
    findings: tuple[Finding, ...] = ()
    redacted: tuple[str, ...] = ()
    risk: float = 0.0
    unconditional: bool = False


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
            question: the action to decide on; it may have no texts.
        """
        matched: list[Rule] = []
        findings: list[Finding] = []
        redactions: dict[int, dict[Span, str]] = {}
        inspected = False
        for rule in self._concerned(question.action, question.resource):
            if rule.unless_scope and not question.scopes.isdisjoint({rule.unless_scope, "*"}):
                continue
            if not all(condition.holds(question.facts) for condition in rule.when):
                continue
            if rule.detector is None:
                matched.append(rule)
                continue
            inspected = True
            found = False
            for position, text in enumerate(question.texts):
                spans = list(rule.detector(text)) if text else []
                if not spans:
                    continue
                found = True
                findings += [Finding(rule.kind, start, end, rule.id, position) for start, end in spans]
                if rule.decision is Decision.REDACT:
                    redactions.setdefault(position, {}).update(dict.fromkeys(spans, rule.kind))
            if found:
                matched.append(rule)
        if not matched:
            return _ALLOW if inspected else _ALLOW_ANY
        matched.sort(key=lambda rule: -rule.decision)
        decision = matched[0].decision
        return Verdict(
            decision=decision,
            rules=tuple(matched),
            findings=tuple(sorted(findings, key=lambda finding: (finding.text, finding.start, finding.end))),
            redacted=_all_redacted(question.texts, redactions) if decision is Decision.REDACT else (),
            risk=max(rule.risk for rule in matched),
            unconditional=decision is Decision.ALLOW and not inspected,
        )


_ALLOW = Verdict(Decision.ALLOW)
_ALLOW_ANY = Verdict(Decision.ALLOW, unconditional=True)


def _any(patterns: Iterable[str], name: str) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _all_redacted(texts: Sequence[str], redactions: Mapping[int, Mapping[Span, str]]) -> tuple[str, ...]:
    return tuple(
        _redacted(text, redactions[position]) if position in redactions else text for position, text in enumerate(texts)
    )


def _redacted(text: str, kinds: Mapping[Span, str]) -> str:
    """The text with each span replaced by `[REDACTED_KIND]`; overlapping spans are merged."""
    pieces: list[str] = []
    done = 0
    for start, end in sorted(kinds):
        if start >= done:
            pieces += (text[done:start], f"[REDACTED_{kinds[start, end].upper()}]")
        done = max(done, end)
    return "".join((*pieces, text[done:]))
