"""Asks the policy service about the input and the output of models."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from soma.errors.v1 import reasons
from soma.policy.v1 import policy_service_pb2 as pb

from services.mesh.call import errors

if TYPE_CHECKING:
    from soma.policy.v1.policy_service_pb2_grpc import PolicyServiceAsyncStub

INPUT, OUTPUT = "chat.input", "chat.output"
# All texts are checked in one call, with this character between them. Texts that contain it are checked one by one.
_SEPARATOR = "\x1e"
_MAX_BYTES = 1024 * 1024


class Policy:
    """Checks the input and the output of models."""

    def __init__(self, stub: "PolicyServiceAsyncStub") -> None:
        self._stub = stub

    async def check_output(self, text: str, resource: str) -> pb.EvaluateResponse:
        """The decision on one piece of a model's output."""
        return await self._stub.Evaluate(pb.EvaluateRequest(action=OUTPUT, resource=resource, content=text))

    async def check_input(self, texts: Sequence[str], resource: str) -> tuple[list[str], list[pb.EvaluateResponse]]:
        """The texts as a model may get them, and the decisions that were not ALLOW.

        Raises:
            PermissionDenied: POLICY_DENIED: a rule denies a text.
            FailedPrecondition: APPROVAL_REQUIRED: a person must approve a text first.
            InvalidArgument: MESSAGE_TOO_LONG: a text is longer than 1 MiB.
        """
        joined = _SEPARATOR.join(texts)
        if joined.count(_SEPARATOR) == max(0, len(texts) - 1) and len(joined.encode()) <= _MAX_BYTES:
            answer = await self._evaluate(joined, resource)
            if answer.decision == pb.DECISION_ALLOW:
                return list(texts), []
            redacted = answer.redacted_content.split(_SEPARATOR)
            if len(redacted) == len(texts):
                return redacted, [answer]
        checked: list[str] = []
        decisions: list[pb.EvaluateResponse] = []
        for text in texts:
            answer = await self._evaluate(text, resource)
            if answer.decision == pb.DECISION_ALLOW:
                checked.append(text)
                continue
            checked.append(answer.redacted_content)
            decisions.append(answer)
        return checked, decisions

    async def _evaluate(self, text: str, resource: str) -> pb.EvaluateResponse:
        if len(text.encode()) > _MAX_BYTES:
            raise errors.InvalidArgument(
                f"a message is longer than {_MAX_BYTES} bytes",
                reason=reasons.MESSAGE_TOO_LONG,
                violations=(errors.FieldViolation("messages.content", f"at most {_MAX_BYTES} bytes"),),
            )
        answer = await self._stub.Evaluate(pb.EvaluateRequest(action=INPUT, resource=resource, content=text))
        if answer.decision == pb.DECISION_DENY:
            raise errors.PermissionDenied(_message(answer), reason=reasons.POLICY_DENIED, metadata=_metadata(answer))
        if answer.decision == pb.DECISION_REQUIRE_APPROVAL:
            raise errors.FailedPrecondition(
                _message(answer), reason=reasons.APPROVAL_REQUIRED, metadata=_metadata(answer)
            )
        return answer


def _message(answer: pb.EvaluateResponse) -> str:
    rule = answer.matched_rules[0]
    return f"policy: {rule.reason or rule.rule_id}"


def _metadata(answer: pb.EvaluateResponse) -> dict[str, str]:
    return {"rule": answer.matched_rules[0].rule_id, "rules_version": answer.rules_version}
