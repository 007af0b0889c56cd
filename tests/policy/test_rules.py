"""Rules: which ones apply, which one decides, and what remains of the content."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.policy.detectors import pattern
from services.policy.rules import Decision, Question, Rule, RuleSet


def rule(name: str, decision: Decision, expression: str = "", **fields: object) -> Rule:
    """A rule on everything, or on content that matches."""
    detector = pattern(re.compile(expression)) if expression else None
    return Rule(id=name, decision=decision, reason=name, kind=name, detector=detector, **fields)  # type: ignore[arg-type]


def ask(content: str = "", action: str = "chat.input", resource: str = "model:m", *scopes: str) -> Question:
    """A question."""
    return Question(action, resource, frozenset(scopes), [content])


def test_without_a_match_everything_is_allowed() -> None:
    verdict = RuleSet([rule("digits", Decision.DENY, r"\d")], "v").decide(ask("no numbers"))
    assert verdict.decision is Decision.ALLOW
    assert verdict.rules == ()


def test_the_strictest_match_decides_and_comes_first() -> None:
    rules = [
        rule("soft", Decision.REDACT, "a"),
        rule("hard", Decision.DENY, "b"),
        rule("human", Decision.REQUIRE_APPROVAL),
    ]
    verdict = RuleSet(rules, "v").decide(ask("a b"))
    assert verdict.decision is Decision.DENY
    assert [r.id for r in verdict.rules] == ["hard", "human", "soft"]
    assert verdict.redacted == ()


@pytest.mark.parametrize(
    ("action", "resource", "applies"),
    [
        ("chat.input", "model:gpt-5", True),
        ("chat.output", "model:gpt-5", True),
        ("tool.execute", "model:gpt-5", False),
        ("chat.input", "model:llama", False),
    ],
)
def test_a_rule_applies_to_its_actions_and_resources(action: str, resource: str, applies: bool) -> None:
    rules = RuleSet([rule("r", Decision.DENY, actions=("chat.*",), resources=("model:gpt-*",))], "v")
    assert (rules.decide(ask("", action, resource)).decision is Decision.DENY) == applies


@pytest.mark.parametrize(
    ("scope", "decision"), [("use:gpt", Decision.ALLOW), ("*", Decision.ALLOW), ("use:x", Decision.DENY)]
)
def test_a_rule_does_not_apply_to_an_actor_with_its_scope(scope: str, decision: Decision) -> None:
    rules = RuleSet([rule("r", Decision.DENY, unless_scope="use:gpt")], "v")
    assert rules.decide(ask("", "chat.input", "model:m", scope)).decision is decision


def test_risk_is_the_highest_of_the_matches() -> None:
    rules = [rule("a", Decision.REDACT, "x", risk=0.2), rule("b", Decision.REDACT, "y", risk=0.7)]
    assert RuleSet(rules, "v").decide(ask("x y")).risk == 0.7


def test_overlapping_findings_are_redacted_once() -> None:
    rules = RuleSet([rule("long", Decision.REDACT, "abcd"), rule("short", Decision.REDACT, "cde")], "v")
    assert rules.decide(ask("1abcde2")).redacted == ("1[REDACTED_LONG]2",)


def test_each_text_is_inspected_by_itself() -> None:
    rules = RuleSet([rule("num", Decision.REDACT, r"\d+"), rule("across", Decision.DENY, "ab")], "v")
    verdict = rules.decide(Question("chat.input", "model:m", frozenset(), ["1a", "b", "", "2 3"]))
    assert verdict.redacted == ("[REDACTED_NUM]a", "b", "", "[REDACTED_NUM] [REDACTED_NUM]")
    assert [(finding.text, finding.start, finding.end) for finding in verdict.findings] == [
        (0, 0, 1),
        (3, 0, 1),
        (3, 2, 3),
    ]


@pytest.mark.parametrize(
    ("rules", "unconditional"),
    [
        ([], True),
        ([rule("elsewhere", Decision.DENY, "x", actions=("tool.*",))], True),
        ([rule("exempt", Decision.DENY, "x", unless_scope="use:gpt")], True),
        ([rule("allows", Decision.ALLOW)], True),
        ([rule("inspects", Decision.REDACT, "x")], False),
        ([rule("denies", Decision.DENY)], False),
        ([rule("allows", Decision.ALLOW), rule("inspects", Decision.DENY, "x")], False),
    ],
    ids=lambda value: ",".join(each.id for each in value) or "none" if isinstance(value, list) else None,
)
def test_a_decision_is_unconditional_if_no_rule_inspects_texts(rules: list[Rule], unconditional: bool) -> None:
    verdict = RuleSet(rules, "v").decide(ask("y", "chat.output", "model:m", "use:gpt"))
    assert verdict.unconditional is unconditional


@given(st.text(max_size=300))
def test_redaction_leaves_nothing_found_and_keeps_the_rest_in_order(content: str) -> None:
    rules = RuleSet([rule("num", Decision.REDACT, r"\d+"), rule("up", Decision.REDACT, r"[A-Z]{2,}")], "v")
    verdict = rules.decide(ask(content))
    if verdict.decision is Decision.ALLOW:
        return
    pieces = re.split(r"\[REDACTED_(?:NUM|UP)\]", verdict.redacted[0])
    assert not any(re.search(r"\d|[A-Z]{2,}", piece) for piece in pieces)
    # The remaining text is in the content, in the same order.
    place = 0
    for piece in pieces:
        place = content.index(piece, place) + len(piece)
