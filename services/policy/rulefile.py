"""Reads rules from a TOML file of `[[rule]]` tables; an error names the wrong rule and key."""

import hashlib
import re
from pathlib import Path
from typing import Any

from soma.errors.v1 import reasons

from services.mesh.call import errors
from services.mesh.process import toml
from services.policy.condition import conditions
from services.policy.detectors import DETECTORS, pattern
from services.policy.rules import Decision, Rule, RuleSet

DEFAULT = Path(__file__).with_name("rules.toml")
_KEYS = {
    "id",
    "decision",
    "reason",
    "actions",
    "resources",
    "unless_scope",
    "when",
    "detect",
    "pattern",
    "kind",
    "risk",
}


def load(path: Path) -> RuleSet:
    """Read a rule file.

    Raises:
        FailedPrecondition: the file is missing or wrong (`RULES_INVALID`); the message names the mistake.
    """
    try:
        raw = path.read_bytes()
        content = toml.parsed(raw)
    except OSError as error:
        raise _invalid(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise _invalid(f"{path}: {error}") from error
    tables = content.get("rule", [])
    if content.keys() - {"rule"} or not isinstance(tables, list) or not all(isinstance(each, dict) for each in tables):
        raise _invalid(f"{path}: a rule file holds [[rule]] tables and nothing else")
    rules = [_rule(table, f"{path}: rule {number}") for number, table in enumerate(tables, 1)]
    ids = [rule.id for rule in rules]
    for rule_id in ids:
        if ids.count(rule_id) > 1:
            raise _invalid(f"{path}: two rules have the id {rule_id!r}")
    return RuleSet(rules, hashlib.sha256(raw).hexdigest()[:12])


def _rule(table: dict[str, Any], where: str) -> Rule:
    unknown = sorted(set(table) - _KEYS)
    if unknown:
        raise _invalid(f"{where}: unknown key {unknown[0]!r}; there are {', '.join(sorted(_KEYS))}")
    rule_id = _text(table, "id", where)
    if not rule_id:
        raise _invalid(f"{where}: `id` is missing")
    where = f"{where} ({rule_id})"
    name = _text(table, "decision", where).upper()
    if name not in Decision.__members__:
        raise _invalid(f"{where}: `decision` is one of {', '.join(d.lower() for d in Decision.__members__)}")
    detect, expression = _text(table, "detect", where), _text(table, "pattern", where)
    if detect and expression:
        raise _invalid(f"{where}: use either `detect` or `pattern`")
    if detect and detect not in DETECTORS:
        raise _invalid(f"{where}: no detector {detect!r}; there are {', '.join(DETECTORS)}")
    try:
        detector = DETECTORS[detect] if detect else pattern(re.compile(expression)) if expression else None
    except re.error as error:
        raise _invalid(f"{where}: `pattern` is not a regular expression: {error}") from error
    if name == "REDACT" and detector is None:
        raise _invalid(f"{where}: to redact, a rule needs `detect` or `pattern`")
    when = table.get("when", {})
    if not isinstance(when, dict):
        raise _invalid(f"{where}: `when` is a table of facts and their values")
    try:
        met = tuple(conditions(when))
    except ValueError as error:
        raise _invalid(f"{where}: {error}") from error
    risk = table.get("risk", 0.0)
    if not isinstance(risk, int | float) or not 0 <= risk <= 1:
        raise _invalid(f"{where}: `risk` is a number from 0 to 1")
    return Rule(
        id=rule_id,
        decision=Decision[name],
        reason=_text(table, "reason", where),
        actions=_texts(table, "actions", where),
        resources=_texts(table, "resources", where),
        unless_scope=_text(table, "unless_scope", where),
        when=met,
        kind=_text(table, "kind", where) or detect or rule_id.replace("-", "_"),
        detector=detector,
        risk=float(risk),
    )


def _text(table: dict[str, Any], key: str, where: str) -> str:
    value = table.get(key, "")
    if not isinstance(value, str):
        raise _invalid(f"{where}: `{key}` is a text")
    return value


def _texts(table: dict[str, Any], key: str, where: str) -> tuple[str, ...]:
    value = table.get(key, ["*"])
    if not isinstance(value, list) or not value or not all(isinstance(item, str) for item in value):
        raise _invalid(f"{where}: `{key}` is a list of texts")
    return tuple(value)


def _invalid(message: str) -> errors.FailedPrecondition:
    return errors.FailedPrecondition(message, reason=reasons.RULES_INVALID)
