"""Asks the policy service about text on its way in and out."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from soma.errors.v1 import reasons
from soma.policy.v1 import policy_service_pb2 as pb

from services.mesh.call import errors

if TYPE_CHECKING:
    from soma.policy.v1.policy_service_pb2_grpc import PolicyServiceAsyncStub

INPUT, OUTPUT = "chat.input", "chat.output"
# A character texts do not contain, to inspect all of them in one call; texts that do contain it go one by one.
_SEPARATOR = "\x1e"
_MAX_BYTES = 1024 * 1024


class Policy:
    """Evaluates what is said to and by a model."""

    def __init__(self, stub: "PolicyServiceAsyncStub") -> None:
        self._stub = stub

    async def release(self, text: str, resource: str) -> pb.EvaluateResponse:
        """The decision on one piece of a model's output."""
        return await self._stub.Evaluate(pb.EvaluateRequest(action=OUTPUT, resource=resource, content=text))

    async def admit(self, texts: Sequence[str], resource: str) -> tuple[list[str], list[pb.EvaluateResponse]]:
        """The texts as they may go on, and the decisions that were not ALLOW.

        Raises:
            PermissionDenied: a rule denies them (`POLICY_DENIED`).
            FailedPrecondition: a human would have to approve them first (`APPROVAL_REQUIRED`).
        """
        whole = _SEPARATOR.join(texts)
        if whole.count(_SEPARATOR) == max(0, len(texts) - 1) and len(whole.encode()) <= _MAX_BYTES:
            answer = await self._ask(whole, resource)
            if answer.decision == pb.DECISION_ALLOW:
                return list(texts), []
            released = answer.redacted_content.split(_SEPARATOR)
            if len(released) == len(texts):
                return released, [answer]
        admitted: list[str] = []
        decisions: list[pb.EvaluateResponse] = []
        for text in texts:
            answer = await self._ask(text, resource)
            if answer.decision == pb.DECISION_ALLOW:
                admitted.append(text)
                continue
            admitted.append(answer.redacted_content)
            decisions.append(answer)
        return admitted, decisions

    async def _ask(self, text: str, resource: str) -> pb.EvaluateResponse:
        if len(text.encode()) > _MAX_BYTES:
            raise errors.InvalidArgument(
                f"a message is longer than {_MAX_BYTES} bytes",
                reason=reasons.MESSAGE_TOO_LONG,
                violations=(errors.FieldViolation("messages.content", f"at most {_MAX_BYTES} bytes"),),
            )
        answer = await self._stub.Evaluate(pb.EvaluateRequest(action=INPUT, resource=resource, content=text))
        if answer.decision == pb.DECISION_DENY:
            raise errors.PermissionDenied(_why(answer), reason=reasons.POLICY_DENIED, metadata=_facts(answer))
        if answer.decision == pb.DECISION_REQUIRE_APPROVAL:
            raise errors.FailedPrecondition(_why(answer), reason=reasons.APPROVAL_REQUIRED, metadata=_facts(answer))
        return answer


def _why(answer: pb.EvaluateResponse) -> str:
    rule = answer.matched_rules[0]
    return f"policy: {rule.reason or rule.rule_id}"


def _facts(answer: pb.EvaluateResponse) -> dict[str, str]:
    return {"rule": answer.matched_rules[0].rule_id, "rules_version": answer.rules_version}
