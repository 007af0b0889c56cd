"""The field `soma`, which this mesh adds to OpenAI's requests; it is in an answer only if the request asks for it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from soma.memory.v1.memory_service_pb2 import STRATEGY_HYBRID, STRATEGY_LONG_ONLY, STRATEGY_SHORT_ONLY, Strategy
from soma.model.v1.message_pb2 import Source
from soma.orchestrator.v1.chat_service_pb2 import PolicyNotice
from soma.policy.v1.policy_service_pb2 import Decision
from typing_extensions import TypedDict

from gateway.edge.openai.failures import openai_name
from gateway.edge.request_model import strict

STRATEGIES: "dict[str, Strategy.ValueType]" = {
    "short_only": STRATEGY_SHORT_ONLY,
    "long_only": STRATEGY_LONG_ONLY,
    "hybrid": STRATEGY_HYBRID,
}


@strict
class ExtensionRequest(TypedDict, total=False):
    """The field of a request."""

    sources: bool
    policy: bool
    drop_params: bool
    strategy: Literal["short_only", "long_only", "hybrid"] | None


@dataclass(frozen=True, slots=True)
class Extension:
    """The options in the field `soma` of a request.

    Attributes:
        sources: the answer names the sources that were quoted or taken from memory.
        policy: the answer says which rules of policy matched.
        drop_params: parameters that are not supported are left out, and the answer names them.
        strategy: the memory to use; if None, the mesh chooses.
    """

    sources: bool = False
    policy: bool = False
    drop_params: bool = False
    strategy: "Strategy.ValueType | None" = None

    @property
    def asked(self) -> bool:
        """Whether the answer has the field `soma`."""
        return self.sources or self.policy or self.drop_params


NOTHING = Extension()


def extension_of(given: ExtensionRequest | None) -> Extension:
    """The options of a request; a request without the field has none."""
    if given is None:
        return NOTHING
    strategy = given.get("strategy")
    return Extension(
        sources=given.get("sources", False),
        policy=given.get("policy", False),
        drop_params=given.get("drop_params", False),
        strategy=None if strategy is None else STRATEGIES[strategy],
    )


@dataclass(slots=True)
class Findings:
    """Collects the content of the field `soma` of an answer while the answer is made."""

    wanted: Extension
    dropped: list[str] = field(default_factory=list)
    sources: Sequence[Source] = ()
    notices: list[PolicyNotice] = field(default_factory=list)

    def drop(self, fields: Sequence[str]) -> None:
        """Note that these fields of the contract were left out."""
        names = (openai_name(each) for each in fields)
        self.dropped.extend(name for name in names if name not in self.dropped)

    def content(self) -> dict[str, Any] | None:
        """The content of the field; None if the client did not ask for it."""
        if not self.wanted.asked:
            return None
        content: dict[str, Any] = {}
        if self.wanted.sources:
            content["sources"] = [{"key": each.key, "text": each.text, "score": each.score} for each in self.sources]
        if self.wanted.policy:
            content["policy"] = [_notice(notice) for notice in self.notices]
        if self.wanted.drop_params:
            content["dropped_params"] = self.dropped
        return content


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
