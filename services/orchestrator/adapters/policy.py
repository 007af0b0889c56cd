"""Asks the policy service about the input and the output of models."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from soma.errors.v1 import reasons
from soma.policy.v1 import policy_service_pb2 as pb

from services.mesh.call import errors

if TYPE_CHECKING:
    from soma.policy.v1.policy_service_pb2_grpc import PolicyServiceAsyncStub

INPUT, OUTPUT = "chat.input", "chat.output"
# The limits of the policy contract.
_MAX_BYTES = 1024 * 1024
_MAX_TEXTS = 65_536
# One call carries all texts, so together they fit into a message between services (4 MiB).
_MAX_TOTAL_BYTES = 3584 * 1024
_BYTES_A_CHARACTER = 4


class Policy:
    """Checks the input and the output of models."""

    def __init__(self, stub: "PolicyServiceAsyncStub") -> None:
        self._stub = stub

    async def check_output(self, texts: Sequence[str], resource: str) -> pb.EvaluateResponse:
        """The decision on texts of a model's output.

        Raises:
            InvalidArgument: MESSAGE_TOO_LONG: as for the input.
        """
        _check_sizes(texts)
        return await self._stub.Evaluate(pb.EvaluateRequest(action=OUTPUT, resource=resource, contents=texts))

    async def check_input(
        self, texts: Sequence[str], resource: str
    ) -> tuple[Sequence[str], pb.EvaluateResponse | None]:
        """The texts as a model may get them, and the decision if it was not ALLOW.

        Policy is asked also when there are no texts, because a rule may concern the model or the caller alone.

        Raises:
            PermissionDenied: POLICY_DENIED: a rule denies a text.
            FailedPrecondition: APPROVAL_REQUIRED: a person must approve a text first.
            InvalidArgument: MESSAGE_TOO_LONG: a text is longer than 1 MiB, or all texts together than 3.5 MiB.
        """
        _check_sizes(texts)
        answer = await self._stub.Evaluate(pb.EvaluateRequest(action=INPUT, resource=resource, contents=texts))
        if answer.decision == pb.DECISION_ALLOW:
            return texts, None
        if answer.decision == pb.DECISION_REDACT:
            return answer.redacted_contents, answer
        if answer.decision == pb.DECISION_REQUIRE_APPROVAL:
            raise errors.FailedPrecondition(
                _message(answer), reason=reasons.APPROVAL_REQUIRED, metadata=_metadata(answer)
            )
        raise errors.PermissionDenied(_message(answer), reason=reasons.POLICY_DENIED, metadata=_metadata(answer))


def _check_sizes(texts: Sequence[str]) -> None:
    if len(texts) > _MAX_TEXTS:
        raise _too_long(f"the messages have more than {_MAX_TEXTS} texts")
    # Most texts are so short that their bytes need not be counted.
    if sum(map(len, texts)) * _BYTES_A_CHARACTER <= _MAX_BYTES:
        return
    sizes = [len(text.encode()) for text in texts]
    if max(sizes) > _MAX_BYTES:
        raise _too_long(f"a text of the messages is longer than {_MAX_BYTES} bytes")
    if sum(sizes) > _MAX_TOTAL_BYTES:
        raise _too_long(f"the texts of the messages together are longer than {_MAX_TOTAL_BYTES} bytes")


def _too_long(message: str) -> errors.InvalidArgument:
    return errors.InvalidArgument(
        message, reason=reasons.MESSAGE_TOO_LONG, violations=(errors.FieldViolation("messages", message),)
    )


def _message(answer: pb.EvaluateResponse) -> str:
    rule = answer.matched_rules[0]
    return f"policy: {rule.reason or rule.rule_id}"


def _metadata(answer: pb.EvaluateResponse) -> dict[str, str]:
    return {"rule": answer.matched_rules[0].rule_id, "rules_version": answer.rules_version}
