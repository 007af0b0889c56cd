"""soma.policy.v1.PolicyService, with the current rules."""

from typing import Any

from google.protobuf import json_format
from soma.errors.v1 import reasons
from soma.policy.v1 import policy_service_pb2 as pb
from soma.policy.v1 import policy_service_pb2_grpc as rpc

from services.mesh.call import errors
from services.mesh.call.call import principal
from services.policy.rules import Decision, Question
from services.policy.watched_rules import WatchedRules

_ANY = "evaluate:any"
_DECISIONS = {
    Decision.ALLOW: pb.DECISION_ALLOW,
    Decision.REDACT: pb.DECISION_REDACT,
    Decision.REQUIRE_APPROVAL: pb.DECISION_REQUIRE_APPROVAL,
    Decision.DENY: pb.DECISION_DENY,
}


class PolicyService(rpc.PolicyServiceServicer):
    """Decides by the rules that are current when the call begins.

    It waits for nothing, so a call from the same process is answered at once: each turn asks it at least twice.
    """

    def __init__(self, rules: WatchedRules) -> None:
        self._rules = rules

    def Evaluate(self, request: pb.EvaluateRequest, context: Any) -> pb.EvaluateResponse:
        rules = self._rules.current
        alone = [request.content] if request.content else []
        texts = [*alone, *request.contents]
        verdict = rules.decide(Question(request.action, request.resource, _scopes(request), texts, _facts(request)))
        response = pb.EvaluateResponse(
            decision=_DECISIONS[verdict.decision], rules_version=rules.version, unconditional=verdict.unconditional
        )
        if verdict.rules:
            response.risk = verdict.risk
            if verdict.redacted:
                response.redacted_content = verdict.redacted[0] if alone else ""
                response.redacted_contents.extend(verdict.redacted[len(alone) :])
            for rule in verdict.rules:
                response.matched_rules.add(rule_id=rule.id, decision=_DECISIONS[rule.decision], reason=rule.reason)
            for finding in verdict.findings:
                response.findings.add(
                    kind=finding.kind,
                    start=finding.start,
                    end=finding.end,
                    rule_id=finding.rule_id,
                    content_index=finding.text,
                )
        return response


def _facts(request: pb.EvaluateRequest) -> dict[str, Any]:
    """The facts of a question. A native client can send values that are not JSON: NaN, Infinity, and empty values."""
    if not request.HasField("context"):
        return {}
    try:
        facts: dict[str, Any] = json_format.MessageToDict(request.context)
    except (json_format.Error, ValueError) as error:
        violation = errors.FieldViolation("context", "must be JSON")
        raise errors.InvalidArgument("context: must be JSON", violations=(violation,)) from error
    return facts


def _scopes(request: pb.EvaluateRequest) -> frozenset[str]:
    """The scopes of the principal in question: the caller, or another of its tenant if the caller may ask about it."""
    caller = principal()
    if not request.HasField("principal"):
        return caller.scopes
    asked = request.principal
    if asked.tenant_id != caller.tenant_id:
        raise errors.PermissionDenied("the principal belongs to another tenant", reason=reasons.TENANT_MISMATCH)
    if asked.subject != caller.subject and not caller.allows(_ANY):
        raise errors.PermissionDenied(f"asking for another principal needs {_ANY}", metadata={"scope": _ANY})
    return frozenset(asked.scopes)
