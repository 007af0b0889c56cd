"""The one field this mesh adds to OpenAI's requests and answers: `soma`. Who does not ask for it never sees it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from soma.memory.v1.memory_service_pb2 import STRATEGY_HYBRID, STRATEGY_LONG_ONLY, STRATEGY_SHORT_ONLY, Strategy
from soma.model.v1.message_pb2 import Source
from soma.orchestrator.v1.chat_service_pb2 import PolicyNotice
from soma.policy.v1.policy_service_pb2 import Decision

from gateway.edge.openai.failures import openai_name
from gateway.edge.openai.values import boolean, members, one_of

MEMBERS = ("sources", "policy", "strategy", "drop_params")
STRATEGIES: "dict[str, Strategy.ValueType]" = {
    "short_only": STRATEGY_SHORT_ONLY,
    "long_only": STRATEGY_LONG_ONLY,
    "hybrid": STRATEGY_HYBRID,
}


@dataclass(frozen=True, slots=True)
class Extension:
    """What a request's `soma` asks for.

    Attributes:
        sources: the answer names what was quoted, or brought in from memory.
        policy: the answer says what policy found.
        drop_params: what cannot be honoured is left out, and the answer names it.
        strategy: which memory to bring in; None leaves it to the mesh.
    """

    sources: bool = False
    policy: bool = False
    drop_params: bool = False
    strategy: "Strategy.ValueType | None" = None

    @property
    def asked(self) -> bool:
        """Whether the answer has a `soma` too."""
        return self.sources or self.policy or self.drop_params


NOTHING = Extension()


def read_extension(value: object, name: str) -> Extension:
    """The field of a request.

    Raises:
        InvalidArgument: names the member at fault.
    """
    given = members(value, name, MEMBERS)
    strategy = given.get("strategy")
    return Extension(
        **{flag: boolean(given.get(flag, False), f"{name}.{flag}") for flag in ("sources", "policy", "drop_params")},
        strategy=None if strategy is None else STRATEGIES[one_of(strategy, f"{name}.strategy", STRATEGIES)],
    )


@dataclass(slots=True)
class Findings:
    """What an answer's `soma` says, gathered on the way."""

    wanted: Extension
    dropped: list[str] = field(default_factory=list)
    sources: Sequence[Source] = ()
    notices: list[PolicyNotice] = field(default_factory=list)

    def drop(self, fields: Sequence[str]) -> None:
        """These fields of the contract were left out."""
        names = (openai_name(each) for each in fields)
        self.dropped.extend(name for name in names if name not in self.dropped)

    def told(self) -> dict[str, Any] | None:
        """The field of the answer; None when the client did not ask."""
        if not self.wanted.asked:
            return None
        told: dict[str, Any] = {}
        if self.wanted.sources:
            told["sources"] = [{"key": each.key, "text": each.text, "score": each.score} for each in self.sources]
        if self.wanted.policy:
            told["policy"] = [_notice(notice) for notice in self.notices]
        if self.wanted.drop_params:
            told["dropped_params"] = self.dropped
        return told


def _notice(notice: PolicyNotice) -> dict[str, Any]:
    return {
        "stage": notice.stage,
        "decision": _decision(notice.decision),
        "rules": [
            {"rule_id": rule.rule_id, "decision": _decision(rule.decision), "reason": rule.reason}
            for rule in notice.matched_rules
        ],
    }


def _decision(decision: "Decision.ValueType") -> str:
    return Decision.Name(decision).removeprefix("DECISION_").lower()
